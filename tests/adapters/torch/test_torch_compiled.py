"""Compiled code under a watch of the script: the same graphs, unbroken and made once, and the same bits."""

import pytest
import torch

from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.verbs.run_script import run_script

SCRIPT = """
import torch
from torch import nn
from torch._dynamo.utils import counters

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.norm(torch.relu(self.first(x))))

def traced(graph, inputs):
    graphs.append(graph)
    return graph.forward

graphs = []
compiled = {{"backend": traced, "fullgraph": {full}}}
torch.manual_seed(0)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
model, step = net, optimizer.step
lossy = nn.functional.cross_entropy
{how}
for number in range(12):
    x, y = torch.randn(16, 6), torch.arange(16) % 3
    {loop}
weights = [p.detach().clone() for p in net.parameters()]
torch.save([len(graphs), sum(counters["graph_break"].values()), weights], "found.pt")
"""
LOOP = "optimizer.zero_grad(); loss = lossy(model(x), y); loss.backward(); step()"
WAYS = {
    "model": ("model = torch.compile(net, **compiled)", LOOP, True),
    "module": ("net.compile(**compiled)", LOOP, True),
    "function": (
        "forward = torch.compile(lambda x, y: lossy(net(x), y), **compiled)",
        "optimizer.zero_grad(); forward(x, y).backward(); step()",
        True,
    ),
    "step": ("step = torch.compile(lambda: optimizer.step(), **compiled)", LOOP, False),
    "all": (
        "@torch.compile(**compiled)\ndef train(x, y):\n    optimizer.zero_grad()\n"
        "    loss = lossy(net(x), y)\n    loss.backward()\n    optimizer.step()",
        "train(x, y)",
        False,
    ),
}


@pytest.fixture
def compiler():
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("way", WAYS)
def test_graphs_and_bits_are_those_without(way, compiler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    how, loop, full = WAYS[way]
    source = SCRIPT.format(how=how, loop=loop, full=full)
    (tmp_path / "train.py").write_text(source)
    exec(compile(source, "train.py", "exec"), {"__name__": "__main__"})
    graphs, breaks, weights = torch.load("found.pt")
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    outcome = run_script("train.py", settings=Settings(folder=tmp_path / "runs"))
    assert outcome.error is None
    watched = torch.load("found.pt")
    assert watched[0] == graphs
    assert watched[1] <= breaks
    for one, other in zip(weights, watched[2], strict=True):
        assert torch.equal(one, other)
    (path,) = outcome.runs
    run = load(path)
    assert len(run.steps["step"]) == 12
    assert run.status == "finished"
    assert (run.steps["norm"] > 0).all()
