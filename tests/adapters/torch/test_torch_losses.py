"""What the calls of a loss show: facts of a listener, the values of a training untouched."""

import functools
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F

import evengrad
from evengrad.adapters.torch.losses.listener import LossListener
from evengrad.adapters.torch.losses.shapes import pairs
from evengrad.adapters.torch.tap.hearing import hearing
from evengrad.recording.settings import Settings
from evengrad.verbs.run_script import run_script


def facts(work, optimizer=""):
    """What is heard while work() runs."""
    listener, mode = LossListener(), hearing()
    mode.add_losses(listener)
    try:
        work()
    finally:
        mode.drop(listener)
        mode.rest()
    assert listener.trouble is None
    return listener.take(optimizer)


def kinds(work):
    return [fact.kind for fact in facts(work)]


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [
        ((4, 1), (4,), (4, 4)),
        ((4,), (4, 1), (4, 4)),
        ((4, 1, 8, 8), (4, 8, 8), (4, 4, 8, 8)),
        ((4, 1), (1, 4), None),  # who writes both axes means it
        ((4, 1), (4, 1), None),
        ((1, 1), (1,), None),
        ((4, 3), (4,), None),
        ((4, 3), (3,), None),
        ((4, 3), (1, 3), None),
        ((), (4,), None),
    ],
)
def test_which_shapes_pair_everything_with_everything(one, other, result):
    assert pairs(one, other) == result


def test_the_line_is_the_one_of_the_loss():
    out, y = torch.randn(4, 1, requires_grad=True), torch.randn(4)
    with pytest.warns(UserWarning, match="target size"):
        (fact,) = facts(lambda: torch.nn.MSELoss()(out, y))
    line = sys._getframe().f_lineno - 1
    assert fact.where.line == line
    assert fact.where.code == "torch.nn.MSELoss()(out, y)"
    assert fact.values["result"] == [4, 4]


def test_a_difference_by_hand_counts_where_it_becomes_one_number():
    out, y = torch.randn(4, 1, requires_grad=True) * 1, torch.randn(4)
    assert kinds(lambda: (out - y).square()) == []  # noqa: PLW0108
    assert kinds(lambda: (out - y).square().mean()) == ["shapes_broadcast"]
    assert kinds(lambda: (out - y).square().sum(1).sqrt().mean()) == ["shapes_broadcast"]
    assert kinds(lambda: torch.exp(-((out - y) ** 2)) @ torch.ones(4)) == []
    assert kinds(lambda: (out - y[:, None]).square().mean()) == []
    assert kinds(lambda: (out.flatten()[:, None] - y).abs().mean()) == []


def test_elements_that_are_masked_out_do_not_count():
    logits = torch.randn(4, requires_grad=True) * 1
    target = torch.tensor([0.0, 1.0, -1.0, 255.0])
    mask = target.clamp(0, 1) == target

    loss = functools.partial(F.binary_cross_entropy_with_logits, logits, target)

    assert kinds(loss) == ["targets_outside"]
    assert kinds(lambda: loss(weight=mask.float())) == []
    assert kinds(lambda: (loss(reduction="none") * mask).sum() / mask.sum()) == []
    assert kinds(lambda: loss(reduction="none")[mask].mean()) == []  # noqa: PLW0108
    assert kinds(lambda: torch.where(mask, loss(reduction="none"), 0.0).mean()) == []
    assert kinds(lambda: loss(reduction="none").mean()) == ["targets_outside"]
    assert kinds(lambda: (loss(reduction="none") * (target > 1)).mean()) == ["targets_outside"]  # noqa: PLW0108


def test_the_lengths_of_a_ctc_loss():
    scores = torch.randn(4, 2, 5, requires_grad=True).log_softmax(2)

    def ctc(texts, lengths, steps=(4, 4), **options):
        return kinds(lambda: F.ctc_loss(scores, torch.tensor(texts), steps, lengths, **options))

    assert ctc([[1, 2, 3, 4], [1, 2, 1, 2]], (4, 4)) == []
    assert ctc([[1, 2, 3, 3], [1, 2, 1, 2]], (4, 4)) == ["targets_too_long"]  # a repeat
    assert ctc([[1, 2, 3, 3], [1, 2, 1, 2]], (3, 4)) == []
    assert ctc([1, 2, 3, 3, 1, 2], (4, 2)) == ["targets_too_long"]  # one behind the other
    assert ctc([[1, 0, 2, 0], [1, 2, 0, 0]], (4, 4)) == ["targets_too_long"]  # a blank inside
    assert ctc([[1, 2, 0, 0], [1, 2, 3, 0]], (3, 4)) == []  # padding


def test_a_sum_is_followed_through_the_numbers_that_it_is_divided_by():
    out, y = torch.randn(8, 2, requires_grad=True) * 1, torch.randn(8, 2)

    def factor(make, optimizer=""):
        found = facts(lambda: make().backward(retain_graph=True), optimizer)
        return [fact.values["factor"] for fact in found]

    summed = functools.partial(F.mse_loss, out, y, reduction="sum")

    assert factor(summed) == [16]
    assert factor(summed, "SGD") == [16]
    assert factor(summed, "Adam") == []  # takes the scale out
    assert factor(lambda: summed() / 8) == [2]
    assert factor(lambda: 0.5 * ((out - y) ** 2).sum()) == [8]
    assert factor(lambda: ((out - y) ** 2).sum() / torch.tensor(16)) == []
    assert factor(lambda: F.mse_loss(out, y) + 1e-4 * (out**2).sum()) == []


SCRIPT = """
import torch
torch.manual_seed(0)
x = torch.randn(32, 4)
y = x[:, 0]
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(12):
    optimizer.zero_grad()
    loss = {loss}
    loss.backward()
    optimizer.step()
torch.save([p.detach() for p in model.parameters()], "{name}.pt")
"""


@pytest.mark.parametrize(
    "loss", ["((model(x) - y) ** 2).mean()", "torch.nn.MSELoss()(model(x), y)"]
)
def test_not_a_bit_of_a_training_changes(loss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(SCRIPT.format(loss=loss, name="plain"), "plain.py", "exec"), {})
        (tmp_path / "train.py").write_text(SCRIPT.format(loss=loss, name="watched"))
        run_script("train.py", settings=Settings(folder=tmp_path / "runs"))
    plain, watched = torch.load("plain.pt"), torch.load("watched.pt")
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


@pytest.mark.parametrize(("at", "heard"), [(0, True), (3, True), (30, False)])
def test_a_run_hears_the_losses_of_its_first_steps(at, heard, tmp_path):
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, y = torch.randn(8, 3), torch.randn(8, 1)
    with warnings.catch_warnings(), evengrad.watch(model, optimizer, folder=tmp_path) as watching:
        warnings.simplefilter("ignore")
        for step in range(at + 2):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y[:, 0] if step == at else y).backward()
            optimizer.step()
    found = [fact.kind for fact in evengrad.load(watching.watching.path).facts]
    assert ("shapes_broadcast" in found) == heard
