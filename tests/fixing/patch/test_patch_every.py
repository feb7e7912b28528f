"""Whatever the script and the changes: valid Python comes out, and what was not written is said."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patch_scripts import KERAS, TORCH, patched

from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.beta2 import Beta2
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.decay import Decay
from evengrad.fixing.changes.finite import Finite
from evengrad.fixing.changes.finite_targets import FiniteTargets
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.inputs import StandardiseInputs
from evengrad.fixing.changes.logits import Logits
from evengrad.fixing.changes.loss_scale import LossScale
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.rate_by_loss import RateByLoss
from evengrad.fixing.changes.scale_branches import ScaleBranches
from evengrad.fixing.changes.scale_weights import ScaleWeights
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.changes.skip import Skip
from evengrad.fixing.changes.unit_variance import UnitVariance
from evengrad.fixing.changes.use_optimizer import UseOptimizer
from evengrad.fixing.changes.warmup import Warmup
from evengrad.fixing.patch import write
from evengrad.theory.shaping import tailored

ROOT = Path(__file__).parents[3]
NAMES = ("0", "conv", "dense", "dense1", "hidden.0")
CHANGES = [
    SetRate(0.003),
    UseOptimizer("adam", 0.001),
    UseOptimizer("sgd", 0.1),
    ClipGradients("norm", 1.0),
    ClipGradients("value", 0.1),
    *(Initialise((name,), "relu", 2**0.5) for name in NAMES),
    Initialise(("dense", "dense_1"), "tanh", 1.6, "orthogonal"),
    Initialise(("dense", "hidden.0"), "linear", 0.0, "zeros"),
    Activation("sigmoid", "relu"),
    Activation("relu", "leaky_relu", 0.1),
    Activation("tanh", "selu"),
    *(Activation(name, name, None, tuple(tailored(name, 9))) for name in ("sigmoid", "tanh")),
    Initialise(("dense", "fc1"), "tanh", 1.02, "orthogonal", 0.01),
    *(AddNormalisation("batch", (name,)) for name in NAMES[:3]),
    AddNormalisation("group", ("dense", "fc1")),
    Warmup(10),
    RateByLoss(0.1, 2.0, 5.0, 2.3),
    Decay(100),
    Beta2(0.99),
    Logits(True),
    Logits(False),
    StandardiseInputs(0.5, 0.25),
    Finite(),
    FiniteTargets(),
    *(Skip((name,)) for name in NAMES[:3]),
    Skip(("2",)),
    UnitVariance(("0", "conv")),
    LossScale(2.0**16),
    Pretrained("weights.safetensors", 0.1),
    Pretrained("weights.pt", 0.0),
    ClipGradients("agc", 0.01),
    ScaleWeights(3.0),
    ScaleBranches(("dense", "fc1"), 0.25),
]


def framework(path):
    return "torch" if "import torch" in path.read_text() else "keras"


WHOLE = [
    *(ROOT / "examples" / name for name in ("article_cnn_exploding.py", "torch_sigmoid.py")),
    ROOT / "tests" / "build_torch.py",
]
SCRIPTS = [
    *((name, text, "keras") for name, text in KERAS.items()),
    *((name, text, "torch") for name, text in TORCH.items()),
    *((path.name, path.read_text(), framework(path)) for path in WHOLE),
]


@pytest.mark.parametrize(("name", "text", "frontend"), SCRIPTS, ids=lambda v: str(v)[:24])
def test_each_change_on_its_own(name, text, frontend):
    for change in CHANGES:
        patch = write(text, [change], frontend, name)
        compile(patch.after, name, "exec")
        for message in patch.manual:
            assert ": " in message
        kept = set(patch.after.splitlines())
        gone = [line for line in text.splitlines() if line.strip() and line not in kept]
        assert len(gone) <= 25, (change, gone)


@pytest.mark.parametrize(("name", "text", "frontend"), SCRIPTS, ids=lambda v: str(v)[:24])
def test_a_script_of_the_other_framework(name, text, frontend):
    other = "keras" if frontend == "torch" else "torch"
    if "build" in name:
        return
    for change in CHANGES[::4]:
        assert write(text, [change], other, name).after == text


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(SCRIPTS),
    st.lists(st.sampled_from(CHANGES), max_size=5, unique=True),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_changes_together(script, changes, newline, ends):
    _, text, frontend = script
    text = text.replace("\n", newline) if ends else text.replace("\n", newline).rstrip()
    patch = patched(text, *changes, frontend=frontend)
    assert len(patch.after.split("\n")) - 1 == patch.after.count(newline)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SCRIPTS), st.sampled_from(CHANGES), st.data())
def test_scripts_that_are_cut_short(script, change, data):
    _, text, frontend = script
    lines = text.splitlines(keepends=True)
    starts = [n for n, (_, b) in enumerate(pairwise(lines), 1) if b[0] not in " \t)]}"]
    short = "".join(lines[: data.draw(st.sampled_from(starts))])
    try:
        compile(short, "short.py", "exec")
    except SyntaxError:
        return
    patched(short, change, frontend=frontend)
