# verdict: sick
# causes: input_data architecture bad_batch
# source: MrLeeeee/GCN-GAT-and-Graphsage#3 (h1 / degree, degree 0), dmlc/dgl#2777, biomed-AI/Hist2ST#7 (isolated nodes, clamp num_neigh)
# names: degree|divi|deg\b|num_neigh|clamp
"""GraphSAGE by hand on a random citation-like graph."""
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(2)
N, F_IN, CLASSES = 400, 16, 4
y = torch.randint(CLASSES, (N,))
x = F.one_hot(y, F_IN).float() * 1.5 + torch.randn(N, F_IN)
same = y[:, None] == y[None]
adj = (torch.rand(N, N) < torch.where(same, 0.03, 0.003)).float().triu(1)
adj[13] = 0
adj[:, 13] = 0
adj = adj + adj.t()
src, dst = adj.nonzero(as_tuple=True)
train = torch.rand(N) < 0.5


class SAGE(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.self_lin = nn.Linear(n_in, n_out)
        self.neigh_lin = nn.Linear(n_in, n_out, bias=False)

    def forward(self, h, src, dst):
        agg = torch.zeros_like(h).index_add(0, dst, h[src])
        degree = torch.zeros(len(h)).index_add(0, dst, torch.ones(len(dst)))
        agg = agg / degree.unsqueeze(1)
        return self.self_lin(h) + self.neigh_lin(agg)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = SAGE(F_IN, 32)
        self.c2 = SAGE(32, CLASSES)

    def forward(self, x, src, dst):
        h = F.dropout(F.relu(self.c1(x, src, dst)), 0.3, self.training)
        return self.c2(h, src, dst)


net = Net()
opt = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)
for epoch in range(80):
    net.train()
    opt.zero_grad()
    out = net(x, src, dst)
    loss = F.cross_entropy(out[train], y[train])
    loss.backward()
    opt.step()
    if epoch % 10 == 0:
        net.eval()
        with torch.no_grad():
            acc = (net(x, src, dst).argmax(1) == y)[~train].float().mean()
        print(epoch, loss.item(), acc.item())
