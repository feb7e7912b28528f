"""Scripts that are easily broken or misread by something that listens to their calls."""

import pytest
import torch
from test_torch_script import SETUP, run
from torch import nn

from evengrad.diagnosis.budget import budget

F = nn.functional


def probed(text):
    session, names = run(SETUP + text)
    assert session.error is None, session.error
    assert session.probe is not None, "nothing was delivered"
    return session.probe, names


def layers(probe):
    return [op.name for op in probe.operations]


NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 9), nn.Linear(9, 3)
    def forward(self, x):
        return self.b({inner})
"""
TRAIN = """
net = Net()
criterion(net(x), y).backward()
torch.optim.SGD(net.parameters(), lr=0.1).step()
"""


def test_a_custom_function_is_one_operation_of_an_unbroken_chain():
    probe, _ = probed(
        """
class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad
"""
        + NET.format(inner="Square.apply(self.a(x))")
        + TRAIN
    )
    assert len(probe.operations) == 4
    assert len(budget(probe).blocks) == 3
    assert probe.inputs[0].port.norm > 0


def test_a_gradient_penalty_by_autograd_grad_is_not_broken():
    _, names = probed("""
x.requires_grad_()
out = model(x)
(g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
assert g.shape == x.shape
(criterion(out, y) + g.pow(2).mean()).backward()
optimizer.step()
""")
    assert names["g"].abs().sum() > 0


def test_retain_grad_still_works():
    probed("""
hidden = model[0](x)
hidden.retain_grad()
criterion(model[2](model[1](hidden)), y).backward()
assert hidden.grad is not None
optimizer.step()
""")


def test_a_trial_forward_does_not_count():
    probe, _ = probed("model(x[:1])\ncriterion(model(x), y).backward()\noptimizer.step()")
    assert probe.batch_size == 12
    assert layers(probe)[:3] == ["0", "1", "2"]


def test_a_penalty_summed_up_in_a_vector_of_one():
    probe, names = probed("""
penalty = torch.zeros(1)
for p in model.parameters():
    penalty = penalty + p.pow(2).sum()
data = criterion(model(x), y)
(data + penalty).backward()
optimizer.step()
""")
    assert probe.loss.penalty == pytest.approx(names["penalty"].item(), rel=1e-5)
    assert probe.loss.value == pytest.approx(names["data"].item(), rel=1e-5)


def test_a_learned_weight_of_the_loss_is_no_penalty():
    probe, names = probed("""
s = nn.Parameter(torch.zeros(()))
optimizer.add_param_group({"params": [s]})
data = criterion(model(x), y)
(data * torch.exp(-s) + s).backward()
optimizer.step()
""")
    assert probe.loss.value == pytest.approx(names["data"].item(), rel=1e-5)
    assert all(op.outputs[0].norm > 0 for op in probe.operations[:3])


def test_a_model_that_returns_its_loss():
    probe, _ = probed("""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(6, 3)
    def forward(self, x, y):
        out = self.f(x)
        return nn.functional.cross_entropy(out, y), out
net = Net()
loss, _ = net(x, y)
(loss / 4).backward()
torch.optim.SGD(net.parameters(), lr=0.1).step()
""")
    assert budget(probe).terms.keys() == {"f"}
    assert probe.operations[0].outputs[0].tensor == probe.outputs[0].tensor


def test_the_logarithm_of_a_softmax_is_a_head():
    probe, _ = probed("""
nn.functional.nll_loss(torch.log(torch.softmax(model(x), 1) + 1e-8), y).backward()
optimizer.step()
""")
    assert probe.loss.head == "log_softmax"
    assert budget(probe).terms.keys() == {"0", "1", "2"}


def test_a_logarithm_behind_what_the_softmax_is_divided_by():
    probe, _ = probed("""
model.append(nn.Softmax(1))
p = model(x)
nn.functional.nll_loss(torch.log((p / p.sum(1, keepdim=True)).clip(1e-7, 1 - 1e-7)), y).backward()
optimizer.step()
""")
    assert probe.loss.head == "log_softmax"


def test_a_step_before_the_first_backward():
    probe, _ = probed("optimizer.step()\ncriterion(model(x), y).backward()\noptimizer.step()")
    assert all(w.update is not None for w in probe.weights)


def test_sparse_embeddings():
    probe, _ = probed("""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.b = nn.Embedding(50, 9, sparse=True), nn.Linear(9, 3)
    def forward(self, tokens):
        return self.b(self.e(tokens).mean(1))
net = Net()
criterion(net(torch.randint(0, 50, (12, 4))), y).backward()
torch.optim.SGD(net.parameters(), lr=0.1).step()
""")
    table = probe.weight("e.weight")
    assert table.gradient.shape == (50, 9)
    assert table.gradient.zeros > 0.05


def test_the_users_own_names():
    probe, _ = probed("""
from torch.nn.utils.parametrizations import weight_norm
net = torch.compile(nn.Sequential(weight_norm(nn.Linear(6, 9)), nn.ReLU(), nn.Linear(9, 3)))
criterion(net(x), y).backward()
torch.optim.SGD(net.parameters(), lr=0.1).step()
""")
    assert layers(probe)[:3] == ["0", "1", "2"]
    assert not any("_orig_mod" in w.name for w in probe.weights)
    assert probe.loss.penalty == 0


def test_encoder_and_decoder_are_told_apart():
    probe, _ = probed("""
enc, dec = nn.Sequential(nn.Linear(6, 9), nn.Tanh()), nn.Sequential(nn.Linear(9, 3))
criterion(dec(enc(x)), y).backward()
torch.optim.SGD([*enc.parameters(), *dec.parameters()], lr=0.1).step()
""")
    assert layers(probe)[:3] == ["enc.0", "enc.1", "dec.0"]


def test_packed_sequences_and_slices_written_into():
    probe, _ = probed("""
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.l, self.b = nn.Linear(6, 9), nn.LSTM(9, 8, batch_first=True), nn.Linear(8, 3)
    def forward(self, x):
        h = self.e(x)
        h[:, :, 3:] = 0.5 * h[:, :, 3:]
        h, _ = self.l(pack_padded_sequence(h, torch.tensor([4] * 12), batch_first=True))
        return self.b(pad_packed_sequence(h, batch_first=True)[0].mean(1))
net = Net()
criterion(net(torch.randn(12, 4, 6)), y).backward()
torch.optim.SGD(net.parameters(), lr=0.1).step()
""")
    assert probe.weight("e.weight").gradient.rms > 0


def test_a_loss_that_cannot_be_seen_into_stops_with_words(tmp_path, monkeypatch):
    (tmp_path / "scripted_loss.py").write_text(
        "import torch\n@torch.jit.script\n"
        "def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:\n"
        "    return -torch.log_softmax(out, 1).gather(1, y[:, None]).mean()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    session, names = run(
        SETUP
        + """
from scripted_loss import loss
before = model[0].weight.detach().clone()
for _ in range(3):
    loss(model(x), y).backward()
    optimizer.step()
"""
    )
    assert session.probe is None
    assert session.error is not None
    assert torch.equal(names["before"], names["model"][0].weight)
