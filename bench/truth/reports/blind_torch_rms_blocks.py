# verdict: sick
# causes: precision architecture
# source: huggingface/transformers T5LayerNorm in fp16 (variance overflows), NVIDIA apex discussions: x.pow(2) above 65504
# names: float16|half|float32|overflow|precision
"""fp16 model with a hand-written RMSNorm; weights kept in fp16 to save memory, plain SGD."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

torch.manual_seed(0)


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-4):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        variance = x.pow(2).sum(-1, keepdim=True) / x.shape[-1]
        return x / torch.sqrt(variance + self.eps) * self.weight


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = RMSNorm(dim)
        self.up, self.down = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    def __init__(self, dim=128, depth=3):
        super().__init__()
        self.embed = nn.Linear(64, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(depth))
        self.norm, self.head = RMSNorm(dim), nn.Linear(dim, 10)

    def forward(self, x):
        x = self.embed(x) * self.embed.out_features**0.5
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


digits = load_digits()
x = torch.tensor(digits.images.reshape(-1, 64), dtype=torch.float32)
y = torch.tensor(digits.target)
net = Net().half()
opt = torch.optim.SGD(net.parameters(), lr=0.05)
for epoch in range(4):
    for idx in torch.randperm(len(x)).split(64):
        logits = net(x[idx].half())
        loss = nn.functional.cross_entropy(logits.float(), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(epoch, loss.item())
with torch.no_grad():
    print("acc", (net(x.half()).argmax(1) == y).float().mean().item())
