"""The callback classes, in the trainers themselves: they change no bit, and end as they should."""

import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import evengrad

pytestmark = pytest.mark.loops
SCRIPTS = Path(__file__).resolve().parents[2] / "bench/loops/scripts"
WATCHED = {
    "lightning": (
        "trainer = L.Trainer(",
        "evengrad.lightning.Watch",
        "trainer = L.Trainer(callbacks=[watch],",
    ),
    "hf": (
        "trainer = Trainer(",
        "evengrad.transformers.Watch",
        "trainer = Trainer(callbacks=[watch],",
    ),
    "trl": (
        "trainer = SFTTrainer(",
        "evengrad.transformers.Watch",
        "trainer = SFTTrainer(callbacks=[watch],",
    ),
}
STEPS = {
    "lightning_automatic": [96],
    "lightning_clipped": [48],
    "lightning_manual": [128, 128],
    "hf_trainer": [60],
    "trl_sft": [80],
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return tmp_path


def text_of(name):
    text = (SCRIPTS / f"{name}.py").read_text()
    needs = next(line for line in text.splitlines() if line.startswith("# needs:"))
    for package in needs.removeprefix("# needs:").split():
        pytest.importorskip(package)
    return text


def with_watch(name, text, **settings):
    place, kind, instead = WATCHED[name.partition("_")[0]]
    given = ", ".join(f"{k}={v!r}" for k, v in settings.items())
    return text.replace(place, f"import evengrad\nwatch = {kind}({given})\n{instead}")


def run(text):
    names = {"__name__": "__main__"}
    exec(compile(text, os.path.abspath("train.py"), "exec"), names)
    return names


def weights(names):
    model = names["model"] if "model" in names else names["trainer"].lightning_module
    return [p.detach().float().numpy() for p in model.parameters()]


@pytest.mark.parametrize("name", STEPS)
def test_a_watched_training_is_the_same_bit_for_bit(name):
    text = text_of(name)
    plain, watched = run(text), run(with_watch(name, text))
    for one, other in zip(weights(plain), weights(watched), strict=True):
        np.testing.assert_array_equal(one, other)
    runs = [evengrad.load(one.path) for one in watched["watch"].watchings]
    assert [len(one.steps["step"]) for one in runs] == STEPS[name]
    assert [one.status for one in runs] == ["finished"] * len(runs)
    assert all(np.isfinite(one.steps["norm"]).all() for one in runs)


@pytest.mark.parametrize("name", ["lightning_automatic", "hf_trainer"])
def test_an_error_of_ours_ends_no_training(name, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr("evengrad.adapters.torch.tap.tap.OptimizerTap._look", broken)
    text = text_of(name)
    plain, watched = run(text), run(with_watch(name, text))
    for one, other in zip(weights(plain), weights(watched), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["lightning_automatic", "hf_trainer"])
def test_a_watch_that_cannot_begin_ends_no_training(name, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr("evengrad.adapters.torch.callbacks.handles.WatchHandle", broken)
    assert run(with_watch(name, text_of(name)))["watch"].watchings == []


IN_LIGHTNING = "loss = nn.functional.cross_entropy(self.net(x), y)"
IN_TRAINER = """
model.classifier.register_forward_hook(
    lambda m, a, out: out * (float("nan") if trainer.state.global_step == 5 else 1)
)
"""


@pytest.mark.parametrize("name", ["lightning_automatic", "hf_trainer"])
def test_the_guard_stops_the_fit(name):
    text = with_watch(name, text_of(name)).replace(
        "watch = evengrad", "kept['watch'] = watch = evengrad"
    )
    bad = f"{IN_LIGHTNING} * (float('nan') if self.global_step == 5 else 1)"
    text = text.replace(IN_LIGHTNING, bad).replace(
        "result = trainer", f"{IN_TRAINER}result = trainer"
    )
    kept = {}
    with pytest.raises(evengrad.GuardStopError, match="Step 5"):
        exec(
            compile(text, os.path.abspath("train.py"), "exec"),
            {"__name__": "__main__", "kept": kept},
        )
    (watching,) = kept["watch"].watchings
    found = evengrad.load(watching.path)
    assert found.failure.step == 5
    assert math.isnan(found.steps["loss"][5])


def test_accelerate_is_watched_by_what_it_prepared():
    pytest.importorskip("accelerate")
    from accelerate.state import AcceleratorState, GradientState

    text = text_of("accelerate_loop")
    plain = run(text)
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    place = "for epoch in range(3):"
    watched = run(
        text.replace(place, f"import evengrad\nwatch = evengrad.watch(model, optimizer)\n{place}")
    )
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    watched["watch"].remove()
    for one, other in zip(weights(plain), weights(watched), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(evengrad.load(watched["watch"].watching.path).steps["step"]) == 96
