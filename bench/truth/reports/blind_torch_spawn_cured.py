# verdict: healthy
# causes: loss_head bad_batch input_data
# source: biomed-AI/Hist2ST#7, forum: masked loss divided by mask.sum(), which is 0 for a batch without labels (cf. pytorch#50224, tum-ai/number-token-loss#73)
# names: divi|known|mask|empty
"""Two tasks; the second has labels for a few rows only. DDP on two processes."""
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel as DDP


def data(rank):
    g = torch.Generator().manual_seed(100 + rank)
    x = torch.randn(640, 10, generator=g)
    a = (x[:, 0] + x[:, 1] > 0).float()
    b = x[:, 2] * 2
    known = torch.rand(640, generator=g) < 0.05
    return x, a, b, known


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.cls = nn.Linear(32, 1)
        self.reg = nn.Linear(32, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.cls(h).squeeze(1), self.reg(h).squeeze(1)


def masked_mse(pred, target, known):
    return (known * (pred - target) ** 2).sum() / known.sum().clamp(min=1)


def main(rank, world):
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    os.environ["MASTER_PORT"] = "29542"
    dist.init_process_group("gloo", rank=rank, world_size=world)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DDP(TwoHeads())
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, a, b, known = data(rank)
    for epoch in range(8):
        for i in range(0, 640, 32):
            s = slice(i, i + 32)
            pa, pb = model(x[s])
            loss = F.binary_cross_entropy_with_logits(pa, a[s]) + masked_mse(pb, b[s], known[s])
            opt.zero_grad()
            loss.backward()
            opt.step()
        if rank == 0:
            print("epoch", epoch, "loss", loss.item(), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(main, args=(2,), nprocs=2)
