"""Residual connections, loss scaling, pretrained weights, finite inputs and further clips, written into PyTorch
scripts: each does what the live change does.
"""

import subprocess
import sys

import pytest
import torch
from patch_scripts import patched
from torch import nn

from evengrad.adapters.torch import trying
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.finite import Finite
from evengrad.fixing.changes.finite_targets import FiniteTargets
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.loss_scale import LossScale
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.skip import Skip
from evengrad.fixing.changes.unit_variance import UnitVariance
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.patch import write

HEAD = """
import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(64, 12), torch.randint(0, 3, (64,))

"""
LOOP = """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
losses = []
for step in range(6):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
"""
LISTED = HEAD + (
    """
class Net(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.head(x)


model = Net()"""
    + LOOP
)
NAMED = HEAD + (
    """
class Net(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.fc1(x)
        x = torch.relu(x)
        return self.head(torch.relu(self.fc2(x)))


model = Net()"""
    + LOOP
)
BLOCKS = HEAD + (
    """
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear, self.norm = None, nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, width)
        self.bn = nn.BatchNorm1d(width)

    def forward(self, x):
        return torch.relu(self.bn(self.linear(x)))


model = nn.Sequential(nn.Linear(12, 8), *[Block(8) for _ in range(3)], nn.Linear(8, 3))"""
    + LOOP
).replace("        self.linear, self.norm = None, nn.BatchNorm1d(width)\n", "")
ROW = HEAD + (
    """
model = nn.Sequential(
    nn.Linear(12, 12),
    nn.BatchNorm1d(12),
    nn.ReLU(),
    nn.Linear(12, 12),
    nn.ReLU(),
    nn.Linear(12, 12), nn.BatchNorm1d(12), nn.ReLU(),
    nn.Linear(12, 3),
)"""
    + LOOP
)
GROWN = HEAD + (
    """
def network(width=12, depth=3):
    layers = [nn.Linear(12, width)]
    layers.append(nn.Tanh())
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.BatchNorm1d(width), nn.Tanh()]
    layers.extend([nn.Linear(width, width), nn.Tanh()])
    return nn.Sequential(*layers, nn.Linear(width, 3))


model = network()"""
    + LOOP
)
PLACES = HEAD + (
    """
x = x.reshape(64, 1, 4, 3)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, bias=False), nn.ReLU(), nn.Flatten(),
    nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3),
)"""
    + LOOP
)
HALF = (
    HEAD
    + """
model = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))"""
    + LOOP.replace(
        "    loss = nn.functional.cross_entropy(model(x), y)\n",
        "    with torch.autocast('cpu', torch.float16):\n"
        "        loss = nn.functional.cross_entropy(model(x), y)\n",
    )
)


class Over(BaseException):
    pass


class Session:
    seed = withheld = 0
    measured = False

    def __init__(self, changes):
        self.changes = changes

    def refuse(self, error):
        raise error

    def note(self, text): ...
    def started(self): ...
    def targets(self, loss, values, place=0): ...
    def epoch(self, steps): ...
    def backpropagated(self, loss, own): ...
    def held_out(self, loss, examples): ...

    def stepped(self):
        return False


def run(source):
    bound = {"__name__": "__main__"}
    exec(compile(source, "script.py", "exec"), bound)
    return bound


def live(source, *changes):
    """The losses of a script whose training is changed while it runs."""
    armed = trying.arm(Session(changes))
    try:
        return run(source)["losses"]
    finally:
        armed.disarm()


def after(source, *changes):
    patch = patched(source, *changes, frontend="torch")
    assert patch.manual == ()
    return patch.after


@pytest.mark.parametrize(
    ("source", "layers"),
    [
        (LISTED, ("hidden.0", "hidden.1", "hidden.2", "hidden.3")),
        (NAMED, ("fc1", "fc2")),
        (NAMED, ("fc2",)),
        (BLOCKS, ("1.linear", "2.linear", "3.linear")),
        (ROW, ("0", "3", "5")),
        (ROW, ("5",)),
        (GROWN, ("2", "5", "8", "11")),
        (BLOCKS, ("2.linear",)),
        (LISTED, ("hidden.1", "hidden.2")),
        (NAMED.replace("x = self.fc1(x)", "x = self.fc1(x) + self.fc1.bias"), ("fc1",)),
    ],
)
def test_residual_connections_do_what_the_live_ones_do(source, layers):
    text = after(source, Skip(layers))
    assert "evengrad" not in text
    assert run(text)["losses"] == pytest.approx(live(source, Skip(layers)), rel=1e-5)
    assert run(text)["losses"] != pytest.approx(run(source)["losses"], rel=1e-3)


@pytest.mark.parametrize("kind", ["batch", "layer", "group"])
@pytest.mark.parametrize(
    ("source", "layers"),
    [
        (LISTED, ("hidden.0", "hidden.1", "hidden.3")),
        (NAMED, ("fc1", "fc2")),
        (NAMED.replace("x = self.fc1(x)", "x = self.fc1(x) - self.fc1(-x)"), ("fc1",)),
        (BLOCKS, ("0", "2.linear")),
        (GROWN, ("0", "2", "5", "8", "11")),
        (PLACES, ("0", "2", "5")),
        (PLACES, ("0", "2")),
        (PLACES + "model[2].weight\n", ("2",)),
    ],
)
def test_normalisations_do_what_the_live_ones_do(source, layers, kind):
    change = AddNormalisation(kind, layers)
    found = run(after(source, change))["losses"]
    assert found == pytest.approx(live(source, change), rel=1e-5)
    assert found != pytest.approx(run(source)["losses"], rel=1e-3)


def test_a_patched_model_can_be_copied_and_saved(tmp_path):
    text = after(BLOCKS, AddNormalisation("batch", ("0",)), Skip(("1.linear", "2.linear")))
    script = tmp_path / "script.py"
    save = "import copy\nsame = copy.deepcopy(model)\ntorch.save(model, 'model.pt')\n"
    script.write_text(
        text + save + "again = torch.load('model.pt', weights_only=False)\n"
        "with torch.no_grad():\n    model[1].linear.skip.add_(1.0)\n"
        "x = torch.randn(4, 12)\nfor other in (same, again):\n"
        "    assert not torch.allclose(model(x), other(x))\n"
        "    other.load_state_dict(model.state_dict())\n"
        "    assert torch.allclose(model(x), other(x))\n"
    )
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True)


def test_residual_connections_around_a_normalisation_that_is_written_with_them():
    nested = NAMED.replace(
        "x = self.fc1(x)\n        x = torch.relu(x)", "x = torch.relu(self.fc1(x))"
    )
    changes = AddNormalisation("batch", ("fc1",)), Skip(("fc1",))
    assert run(after(nested, *changes))["losses"] == pytest.approx(live(nested, *changes), rel=1e-5)
    row = ROW.replace(" nn.BatchNorm1d(12),", "").replace("    nn.BatchNorm1d(12),\n", "")
    changes = (
        AddNormalisation("layer", ("0", "2")), Skip(("0", "2", "4")), Initialise(("6",), "linear", 1e-6)
    )  # fmt: skip
    bound = run(after(row, *changes))
    assert bound["losses"] == pytest.approx([1.0986] * 6, abs=0.05)
    assert [type(m.normalisation) for m in bound["model"][0:4:2]] == [nn.LayerNorm] * 2
    assert all(bound["model"][n].skip.item() != 0 for n in (0, 2, 4))
    changes = changes[:2]
    assert run(after(row, *changes))["losses"] == pytest.approx(live(row, *changes), rel=1e-5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        x = self.fc1(x)\n", "        x = self.fc1(self.fc1(x))\n"),
        ("torch.relu(x)", "nn.LayerNorm(12)(x)"),
        ("        self.fc1 = nn.Linear(width, width)\n", "        self.fc1 = make(nn.Linear(width, width))\n"),
        ("class Net", "class add_skip: ...\n\n\nclass Net"),
    ],
)  # fmt: skip
def test_residual_connections_are_left_to_the_user_where_that_is_not_safe(old, new):
    source = NAMED.replace(old, new)
    assert source != NAMED
    patch = patched(source, Skip(("fc1",)), frontend="torch")
    assert patch.after == source
    (message,) = patch.manual
    assert "x + a * f(x) for f in fc1" in message


@pytest.mark.parametrize("clip", ["", "    nn.utils.clip_grad_norm_(model.parameters(), 0.1)\n"])
def test_loss_scaling_does_what_the_live_one_does(clip):
    source = HALF.replace("    optimizer.step()\n", clip + "    optimizer.step()\n")
    text = after(source, LossScale(2.0**8))
    assert run(text)["losses"] == live(source, LossScale(2.0**8))
    assert ("unscale_" in text) is bool(clip)
    if clip:
        together = after(HALF, ClipGradients("norm", 0.1), LossScale(2.0**8))
        assert run(together)["losses"] == run(text)["losses"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("with torch.autocast('cpu', torch.float16):", "if True:"),
        ("losses = []", "losses, scaler = [], torch.amp.GradScaler('cpu', enabled=False)"),
        ("losses = []", "losses, scaler = [], 3"),
        ("optimizer.step()", "optimizer.step(lambda: loss)"),
    ],
)
def test_loss_scaling_is_left_to_the_user_where_that_is_not_safe(old, new):
    source = HALF.replace(old, new)
    patch = patched(source, LossScale(256.0), frontend="torch")
    assert patch.after == source
    assert "scaler.scale(loss).backward()" in patch.manual[0]


@pytest.mark.parametrize("factor", [0.1, 0.0])
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_pretrained_weights_do_what_the_live_ones_do(tmp_path, factor, kind):
    file = tmp_path / f"weights.{kind}"
    kept = {f"hidden.{n}.weight": torch.eye(12) + 0.1 * n for n in range(3)} | {
        "head.weight": torch.zeros(7, 12)
    }
    if kind == "pt":
        torch.save({"model": kept, "epoch": 1}, file)
    else:
        from safetensors.torch import save_file

        save_file(kept, file)
    change = Pretrained(str(file), factor)
    text = after(LISTED, change)
    assert run(text)["losses"] == pytest.approx(live(LISTED, change), rel=1e-6)
    rates = [g["lr"] for g in run(text)["optimizer"].param_groups]
    assert rates == ([0.1, pytest.approx(0.01)] if factor else [0.1])
    text = after(LISTED, change, UseOptimizer("adam", 0.01))
    rates = [g["lr"] for g in run(text)["optimizer"].param_groups]
    assert rates == ([0.01, pytest.approx(0.001)] if factor else [0.01])
    assert run(text)["losses"] == pytest.approx(
        live(LISTED, change, UseOptimizer("adam", 0.01)), rel=1e-6
    )


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("source", [LISTED, ROW])
def test_finite_inputs_do_what_the_live_ones_do(source, scaled):
    source = source.replace(
        "(64,))\n",
        "(64,))\nspoilt = torch.where(torch.rand(64, 12) < 0.1, torch.nan, x)\nx = spoilt\n",
        1,
    )
    changes = (Finite(), StandardiseInputs(0.5, 2.0)) if scaled else (Finite(),)
    found = run(after(source, *changes))["losses"]
    assert found == pytest.approx(live(source, *changes), rel=1e-6)
    assert all(loss < 100 for loss in found)


@pytest.mark.parametrize(
    ("made", "called"),
    [
        ("", "nn.functional.mse_loss(model(x), goal)"),
        ("", "nn.functional.smooth_l1_loss(model(x), target=goal)"),
        ("", "nn.MSELoss()(model(x), goal)"),
        ("measure = nn.L1Loss()\n", "measure(model(x), goal)"),
    ],
)
def test_finite_targets_do_what_the_live_ones_do(made, called):
    goal = "goal = torch.where(torch.rand(64, 3) < 0.1, torch.nan, torch.ones(64, 3))\n" + made
    source = ROW.replace("nn.functional.cross_entropy(model(x), y)", called)
    source = source.replace("losses = []\n", f"losses = []\n{goal}", 1)
    assert goal in source
    found = run(after(source, FiniteTargets()))["losses"]
    assert found == pytest.approx(live(source, FiniteTargets()), rel=1e-6)
    assert all(loss < 100 for loss in found)
    assert not all(loss < 100 for loss in run(source)["losses"])


def test_clips_that_torch_does_not_have():
    patch = write(LISTED, [ClipGradients("tensor", 0.001)], "torch")
    assert patch.manual == ()
    text = patch.after
    assert 'evengrad.watch(model, optimizer, clip="tensor:0.001", guard=None, folder=None)' in text
    moved, plain = run(text)["model"], run(LISTED)["model"]
    start = run(LISTED.replace("range(6)", "range(0)"))["model"]

    def far(model):
        return float(
            sum(
                (p - q).square().sum()
                for p, q in zip(model.parameters(), start.parameters(), strict=True)
            )
        )

    assert 0 < far(moved) < 0.01 * far(plain)
    assert isinstance(moved, nn.Module)


@pytest.mark.parametrize("append", [False, True])
def test_normalisations_in_a_list_that_grows(append):
    source = GROWN.replace(" nn.BatchNorm1d(width),", "")
    layers = ("0", "2", "4", "6", "8")
    if append:
        source = source.replace(
            "layers += [nn.Linear(width, width), nn.Tanh()]",
            "layers.append(nn.Linear(width, width))\n        layers.append(nn.Tanh())",
        )
    changes = AddNormalisation("batch", layers), Initialise(("10",), "linear", 1e-6)
    bound = run(after(source, *changes))
    kinds = "".join(type(m).__name__[0] for m in list(bound["model"].modules())[1:])
    assert kinds == "LBT" * 5 + "L"
    assert not bound["model"][10].weight.detach().abs().max() > 0.1
    change = changes[:1]
    assert run(after(source, *change))["losses"] == pytest.approx(live(source, *change), rel=1e-5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    for _ in range(depth):", "    if depth > 2:"),
        ("    for _ in range(depth):", "    for _ in some():"),
        ("    layers.extend(", "    layers.insert(0, nn.Identity())\n    layers.extend("),
        ("    layers.append(nn.Tanh())", "    layers = list(layers)"),
    ],
)
def test_lists_that_cannot_be_followed_are_left_to_the_user(old, new):
    source = GROWN.replace(old, new)
    assert source != GROWN
    patch = patched(source, Skip(("2",)), frontend="torch")
    assert patch.after == source
    assert patch.manual


@pytest.mark.parametrize(
    ("source", "layers"),
    [
        (LISTED, ("hidden.0", "hidden.1", "hidden.2", "hidden.3", "head")),
        (NAMED, ("fc2",)),
        (GROWN, ("0", "2", "5")),
    ],
)
def test_unit_variance_does_what_the_live_change_does(source, layers):
    change = UnitVariance(layers)
    found = run(after(source, change))
    assert found["losses"] == pytest.approx(live(source, change), rel=1e-4)
    assert found["hooks"] == {}
    taken = source.replace("losses = []", "losses = hooks = []").replace(
        "losses.append", "hooks.append"
    )
    assert "standard deviation" in patched(taken, change, frontend="torch").manual[0]
