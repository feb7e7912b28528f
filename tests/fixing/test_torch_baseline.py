"""Which losses of ordinary PyTorch loops have a constant baseline, and which: of what they backpropagate."""

import math
import textwrap

import here
import numpy as np
import pytest
import torch

from evengrad.adapters.torch import trying
from evengrad.fixing.trial import Trial
from evengrad.fixing.verdict import judge
from evengrad.recording.baseline import Baseline

SCRIPT = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(1)
    x = torch.randn(512, 8)
    y = torch.arange(512) % 4
    values = torch.randn(512, 1)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    partly = torch.where(torch.arange(512) % 2 == 0, y, -100)
    {before}
    for epoch in range(2):
        for rows in torch.randperm(512).split(32):
            out = model(x[rows])
            classes, value = out[:, :4], out[:, 4:]
            optimizer.zero_grad()
            {loss}
            optimizer.step()
"""
LN4, LN2 = math.log(4), math.log(2)
VARIANCE = 1.0  # of ``values``, to a tenth

STEP = "loss = {}; loss.backward()"
CASES = {
    "a function": (STEP.format("F.cross_entropy(classes, y[rows])"), LN4),
    "a module": (STEP.format("nn.CrossEntropyLoss()(classes, y[rows])"), LN4),
    "squares": (STEP.format("F.mse_loss(value, values[rows])"), VARIANCE),
    "two terms of one weight": (
        STEP.format("F.cross_entropy(classes, y[rows]) + F.mse_loss(value, values[rows])"),
        LN4 + VARIANCE,
    ),
    "two terms of two weights": (
        STEP.format("F.cross_entropy(classes, y[rows]) + 0.5 * F.mse_loss(value, values[rows])"),
        None,
    ),
    "a term of the script's own": (
        STEP.format("F.cross_entropy(classes, y[rows]) + (value - values[rows]).abs().mean()"),
        None,
    ),
    "penalised": (
        STEP.format(
            "F.cross_entropy(classes, y[rows]) + 0.01 * sum(p.pow(2).sum() for p in model.parameters())"
        ),
        None,
    ),
    "divided": (STEP.format("F.cross_entropy(classes, y[rows]) / 8"), LN4 / 8),
    "summed": (STEP.format('F.cross_entropy(classes, y[rows], reduction="sum")'), 32 * LN4),
    "averaged by hand": (
        STEP.format('F.cross_entropy(classes, y[rows], reduction="none").mean()'),
        LN4,
    ),
    "weights of classes": (
        STEP.format("nn.CrossEntropyLoss(weight=weights)(classes, y[rows])"),
        None,
    ),
    "smoothed labels": (
        STEP.format("F.cross_entropy(classes, y[rows], label_smoothing=0.1)"),
        None,
    ),
    "ignored labels": (STEP.format("F.cross_entropy(classes, partly[rows])"), LN2),
    "soft labels": (STEP.format("F.cross_entropy(classes, F.one_hot(y[rows], 4).float())"), LN4),
    "weights of positives": (
        STEP.format(
            "F.binary_cross_entropy_with_logits(value[:, 0], y[rows] % 2.0, pos_weight=weights[3])"
        ),
        None,
    ),
    "a function that is not known": (STEP.format("F.huber_loss(value, values[rows])"), None),
    "a validation loss with a graph": (
        STEP.format("F.cross_entropy(classes, y[rows])")
        + "; F.cross_entropy(model(x)[:, :4], y); F.mse_loss(model(x)[:, 4:], values)",
        LN4,
    ),
    "another loss every other step": (
        STEP.format(
            "F.cross_entropy(classes, y[rows]) if int(rows[0]) % 2 else F.mse_loss(value, values[rows])"
        ),
        None,
    ),
    "two parts of a batch": (
        "for part in (slice(0, 16), slice(16, 32)):"
        " (F.cross_entropy(model(x[rows[part]])[:, :4], y[rows[part]]) / 2).backward()",
        LN4 / 2,
    ),
    "under a loss scaler": (
        "scaler.scale(F.cross_entropy(classes, y[rows])).backward(); scaler.update(2.0 ** (epoch + 3));"
        " [p.grad.div_(8) for p in model.parameters()]",
        LN4,
    ),
    "two losses, one after the other": (
        "F.cross_entropy(classes, y[rows]).backward(retain_graph=True);"
        " F.mse_loss(value, values[rows]).backward()",
        None,
    ),
    "another model beside it": (
        "F.cross_entropy(classes, y[rows]).backward(); other_optimizer.zero_grad();"
        " F.cross_entropy(other(x[rows]), y[rows] % 2).backward(); other_optimizer.step()",
        None,
    ),
    "an adversary": (
        "bce(value, 1 - zeros).backward(retain_graph=True); bce(value, zeros).backward();"
        " optimizer.step(); optimizer.zero_grad(); bce(model(other(x[rows]))[:, 4:], 1 - zeros).backward();"
        " other_optimizer.step(); optimizer.zero_grad(); bce(model(x[rows])[:, 4:], zeros).backward()",
        None,
    ),
    "two optimizers of one model": (
        "F.cross_entropy(classes, y[rows]).backward(); second.step()",
        LN4,
    ),
    "another model before it": (STEP.format("F.cross_entropy(classes, y[rows])"), LN4),
}
BEFORE = {
    "under a loss scaler": "scaler = torch.amp.GradScaler('cpu', init_scale=8.0)",
    "another model beside it": (
        "other = nn.Linear(8, 2); other_optimizer = torch.optim.SGD(other.parameters(), lr=0.1)"
    ),
    "an adversary": (
        "bce = F.binary_cross_entropy_with_logits; zeros = torch.zeros(32, 1); other = nn.Linear(8, 8);"
        " other_optimizer = torch.optim.SGD(other.parameters(), lr=0.1)"
    ),
    "two optimizers of one model": "second = torch.optim.SGD(model[2].parameters(), lr=0.1)",
    "another model before it": "F.mse_loss(nn.Linear(8, 1)(x), values).backward()",
}


class Over(BaseException):
    pass


class Session:
    """Of a trial that changes nothing."""

    changes, seed = (), 0

    def __init__(self, withheld):
        self.withheld = withheld
        self.measured = False
        self.baseline = Baseline()
        self.targets, self.backpropagated = self.baseline.targets, self.baseline.backpropagated

    def started(self): ...
    def note(self, text): ...
    def held_out(self, loss, examples): ...
    def epoch(self, steps): ...

    def stepped(self):
        return False


def baseline(loss, before="pass", withheld=0):
    """After the loop."""
    session = Session(withheld)
    armed = trying.arm(session)
    try:
        exec(textwrap.dedent(SCRIPT.format(loss=loss, before=before)), {"__name__": "__main__"})
    finally:
        armed.disarm()
    return session.baseline.loss


@pytest.mark.parametrize("withheld", [0, 10])
@pytest.mark.parametrize("name", CASES)
def test_the_baseline_is_of_what_is_backpropagated(name, withheld):
    loss, wanted = CASES[name]
    if withheld and name == "summed":
        wanted = None  # each step withholds another number of examples
    found = baseline(loss, BEFORE.get(name, "pass"), withheld)
    assert found is None if wanted is None else found == pytest.approx(wanted, rel=0.1)


def test_a_loss_that_is_not_followed_backwards_keeps_nothing_alive():
    """A graph is as large as all activations: it must go with the loss that it belongs to."""
    import gc
    import weakref

    session = Session(0)
    armed = trying.arm(session)
    try:
        model = torch.nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        rows, labels = torch.randn(8, 4), torch.arange(8) % 3
        torch.nn.functional.cross_entropy(model(rows), labels).backward()
        optimizer.step()
        out = model(rows)
        torch.nn.functional.cross_entropy(out, labels)
        gone = weakref.ref(out)
        del out
        gc.collect()
        assert gone() is None
    finally:
        armed.disarm()


# --- whole trials: what was judged wrongly when the baseline was that of the first loss function ----------

TRAINING = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    x = torch.randn(2048, 16)
    y = ((x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()) if {learnable} else torch.randint(4, (2048,))
    values = 3.0 * torch.randint(2, (2048, 1)) - 1.5
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model[2].weight.data *= {scale}
    for epoch in range(6):
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            for part in rows.split(32 // {parts}):
                out = model(x[part])
                loss = F.cross_entropy(out[:, :4], y[part]) {more}
                loss.backward()
            optimizer.step()
"""


@pytest.mark.parametrize(
    ("settings", "learns", "baseline_known"),
    [
        # falls, from about 4 to 3, and never below ln 4
        ({"more": "+ F.mse_loss(out[:, 4:], values[part])"}, True, True),
        ({"more": "+ 0.7 * F.mse_loss(out[:, 4:], values[part])"}, True, False),
        # guesses at random, at 1.5 an example, which is far above ln 4 but not divided by 8
        (
            {"more": "/ 8", "parts": 8, "learnable": False, "scale": 10},
            False,
            True,
        ),
    ],
)
def test_a_trial_is_judged_by_the_baseline_of_its_own_loss(
    settings, learns, baseline_known, tmp_path
):
    given = {"learnable": True, "parts": 1, "scale": 1, "more": "", **settings}
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(TRAINING).format(**given))
    found = here.execute(Trial(str(script), steps=150), tmp_path / "trial", str(tmp_path))
    assert found.end == "budget", found.message
    assert (found.baseline is not None) == baseline_known
    verdict = judge(found)
    assert verdict.learning == learns, verdict.why
    assert learns or "not below the constant baseline" in verdict.why
    last = np.mean(found.losses[-37:])
    if given["parts"] == 1:
        # by the baseline of cross-entropy alone it would be the other way round
        assert learns == (last > LN4)
