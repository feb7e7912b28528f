"""Where a NaN or an infinity was born: the operation, its operand and the line, wherever that can be."""

import linecache
import runpy

import pytest
import torch

from evengrad.adapters.torch import inquiry
from evengrad.values.fact import Fact

HEAD = """
import torch, torch.nn as nn, torch.nn.functional as F
torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 1)
mask = torch.zeros(16, 4, dtype=torch.bool)
mask[3] = True
class Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        root = a.sqrt()
        ctx.save_for_backward(root)
        return root
    @staticmethod
    def backward(ctx, g):
        (root,) = ctx.saved_tensors
        return g / (2 * root)
"""
LOOP = """
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(3):
    out = model(x)
    loss = {loss}
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


class Found(BaseException):
    """The inquiry's answer."""


class Session:
    def __init__(self, step=0):
        self.step = step

    def born(self, fact):
        raise Found(fact)

    def trouble(self, error):
        raise error


@pytest.fixture
def born(tmp_path, monkeypatch):
    """What is found in a script; None where nothing is."""
    monkeypatch.chdir(tmp_path)

    def run(source, step=0) -> Fact | None:
        (tmp_path / "train.py").write_text(HEAD + source)
        linecache.clearcache()
        armed = inquiry.arm(Session(step))
        try:
            runpy.run_path("train.py", run_name="__main__")
            armed.flush()
        except Found as found:
            return found.args[0]
        except RuntimeError:
            with pytest.raises(Found) as late:
                armed.flush()
            return late.value.args[0]
        finally:
            armed.disarm()
        return None

    return run


CASES = {  # loss: operation, direction, operand
    "torch.log(F.relu(out) * (out > 9)).mean()": ("log", "forward", "F.relu(out) * (out > 9)"),
    "torch.where(out > 0, torch.sqrt(out), out).mean()": ("sqrt", "backward", "out"),
    "(out / (out - out).sum()).mean()": ("divide", "forward", "(out - out).sum()"),
    "(out - out.std(1, keepdim=True)[:, :1].std(1, keepdim=True)).mean()": (
        "std",
        "forward",
        "out.std(1, keepdim=True)[:, :1]",
    ),
    "torch.softmax(out.masked_fill(mask, float('-inf')), 1)[:, 0].mean()": (
        "softmax",
        "forward",
        "out.masked_fill(mask, float('-inf'))",
    ),
    "((out - 1) ** 0.5).mean()": ("pow", "forward", "out - 1"),
    "Root.apply(out * (out > 0)).mean()": ("divide", "backward", "2 * root"),
    "torch.exp(out * 1e4).mean()": ("exp", "forward", "out * 1e4"),
    "F.cross_entropy(out.masked_fill(mask, float('-inf')), torch.zeros(16).long())": (
        "cross_entropy",
        "forward",
        "out.masked_fill(mask, float('-inf'))",
    ),
}


@pytest.mark.parametrize("loss", CASES)
def test_the_operation_its_direction_and_its_operand(loss, born):
    fact = born(LOOP.format(loss=loss))
    assert fact is not None
    got = fact.values["operation"], fact.values["direction"], fact.values["operand"]
    assert got == CASES[loss]
    line = (HEAD + LOOP.format(loss=loss)).splitlines()[fact.where.line - 1]
    assert fact.where.code in line


def test_a_branch_that_a_where_discards_is_hidden(born):
    fact = born(LOOP.format(loss="torch.where(out > 0, torch.sqrt(out), out).mean()"))
    assert fact.values["hidden"]
    assert fact.values["low"] < 0 < fact.values["high"]


def test_targets_that_a_mask_discards_after_the_loss_are_given(born):
    source = "y[5] = float('nan')" + LOOP.format(
        loss="((out[:, :1] - y) ** 2)[~torch.isnan(y)].mean()"
    )
    fact = born(source)
    assert (fact.values["direction"], fact.values["role"]) == ("given", "targets")
    assert fact.values["hidden"]


FINE = (
    "F.mse_loss(out[:, :1], y)",
    "torch.softmax(out.masked_fill(mask & (torch.arange(4) > 0), float('-inf')), 1).max()",
    "torch.nan_to_num(out / (out - out), 0.0, 1.0, 1.0).detach().mean() + out.mean()",
    "torch.where(out > 0, torch.sqrt(out.clamp(min=1e-6)), out).mean()",
)


@pytest.mark.parametrize("loss", FINE)
def test_what_does_not_reach_the_loss_or_a_gradient_is_no_birth(loss, born):
    assert born(LOOP.format(loss=loss)) is None


@pytest.mark.parametrize(
    ("before", "role", "name"),
    [
        ("x[2, 1] = float('nan')", "batch", "x"),
        ("y[5] = float('nan')", "targets", "y"),
        ("y.numpy()[5] = float('nan')", "targets", "y"),  # its making is not seen
    ],
)
def test_what_was_given_is_named_by_its_role(before, role, name, born):
    fact = born(before + LOOP.format(loss="F.mse_loss(out[:, :1], y)"))
    got = fact.values["direction"], fact.values["role"], fact.values["operand"]
    assert got == ("given", role, name)


def test_infinities_of_the_data_are_given_though_a_call_put_the_batch_together(born):
    loss = "F.mse_loss(out[:, 0], torch.stack([y[:, 0]])[0])"
    before = "y = torch.tensor((y.numpy() - float('inf')).tolist())"
    values = born(before + LOOP.format(loss=loss)).values
    assert (values["direction"], values["role"], values["what"]) == ("given", "targets", "inf")
    assert values["operand"] == "torch.stack([y[:, 0]])[0]"


def test_a_weight_that_is_not_finite_is_named_by_its_layer(born):
    made = "nn.init.constant_(model[0].weight, float('nan'))\noptimizer = "
    source = LOOP.format(loss="out.mean()").replace("optimizer = ", made)
    values = born(source, 1).values
    assert (values["direction"], values["role"], values["name"]) == ("given", "weights", "0")


def test_before_its_step_nothing_is_looked_at(born):
    fact = born(LOOP.format(loss="torch.sqrt(out - 9.0).mean() if step == 2 else out.mean()"), 2)
    assert fact.step == 2


def test_a_script_that_ends_itself_is_told_of_its_loss(born):
    source = LOOP.format(loss="torch.log(out - 100).mean()")
    source = source.replace(
        "    optimizer.zero_grad()", "    if loss != loss: raise RuntimeError('nan')"
    )
    assert born(source).values["operation"] == "log"


def test_an_update_that_is_not_finite_though_its_gradients_are(born):
    source = LOOP.format(
        loss="model(x.half()).float().mean() if step else model(x.half()).float().mean()"
    )
    source = source.replace("nn.Linear(8, 4))", "nn.Linear(8, 4)).half()").replace(
        "    out = model(x)\n", ""
    )
    source = source.replace("SGD(model.parameters(), lr=0.01)", "Adam(model.parameters(), lr=0.01)")
    fact = born(source)
    assert (fact.values["operation"], fact.values["role"]) == ("update", "weights")
    assert fact.where.code == "optimizer.step()"


def test_everything_is_taken_off_again():
    before = torch.autograd.backward, torch.autograd.grad, torch.nn.Module.__call__, torch.compile
    armed = inquiry.arm(Session())
    armed.disarm()
    assert before == (
        torch.autograd.backward,
        torch.autograd.grad,
        torch.nn.Module.__call__,
        torch.compile,
    )
