"""PyTorch: DistributedDataParallel by torchrun, two processes."""

# needs: torch
# command: torchrun --standalone --nproc-per-node 2
# sick: "lr=0.1" -> "lr=300.0"

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
model = DDP(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
torch.manual_seed(rank)
centres = torch.randn(4, 20, generator=torch.Generator().manual_seed(3))
for step in range(60):
    y = torch.randint(0, 4, (32,))
    x = centres[y] + 0.5 * torch.randn(32, 20)
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
if rank == 0:
    print("loss", loss.item())
dist.destroy_process_group()
