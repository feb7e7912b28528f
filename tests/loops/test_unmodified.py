"""Trainers' scripts as they are, under ``evengrad run``: the same bits, whatever becomes of the watch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.verbs.run_script import run_script

pytestmark = pytest.mark.loops
torch = pytest.importorskip("torch")
SCRIPTS = Path(__file__).resolve().parents[2] / "bench/loops/scripts"
MODEL = {
    "lightning_automatic": "trainer.lightning_module",
    "hf_trainer": "model",
    "fastai_learner": "model",
}
SAVED = """
import numpy
numpy.savez({name!r}, *[p.detach().float().numpy() for p in {model}.parameters()])
"""


@pytest.fixture(params=MODEL)
def script(request, tmp_path, monkeypatch):
    """Its path, and the weights that it ends with bare."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = (SCRIPTS / f"{request.param}.py").read_text()
    needs = next(line for line in text.splitlines() if line.startswith("# needs:"))
    for package in needs.removeprefix("# needs:").split():
        pytest.importorskip(package)
    path = tmp_path / "train.py"
    ending = SAVED.format(name="weights.npz", model=MODEL[request.param])
    path.write_text("import torch\ntorch.set_num_threads(1)\n" + text + ending)
    subprocess.run([sys.executable, "train.py"], check=True, capture_output=True, timeout=200)
    with np.load("weights.npz") as found:
        bare = [found[name] for name in found.files]
    Path("weights.npz").unlink()
    torch.set_num_threads(1)
    return path, bare


def same(bare):
    with np.load("weights.npz") as found:
        watched = [found[name] for name in found.files]
    return all(map(np.array_equal, bare, watched)) and len(bare) == len(watched)


def test_run_changes_no_bit(script):
    path, bare = script
    outcome = run_script(str(path), settings=Settings(folder=Path("runs")))
    assert outcome.error is None
    assert outcome.failure is None
    (run,) = map(load, outcome.runs)
    assert len(run.steps["step"]) >= 48
    assert np.isfinite(run.steps["norm"]).all()
    assert np.isfinite(run.steps["loss"]).all()
    assert same(bare)


@pytest.mark.parametrize(
    "seam",
    [
        "evengrad.adapters.torch.tap.tap.OptimizerTap._look",
        "evengrad.adapters.torch.tap.tap.OptimizerTap.start",
        "evengrad.adapters.torch.loop.stand_in.ForeignOptimizer.refresh",
    ],
)
def test_a_broken_seam_ends_no_training(script, seam, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("broken")

    path, bare = script
    monkeypatch.setattr(seam, broken)
    outcome = run_script(str(path), settings=Settings(folder=Path("runs")))
    assert outcome.error is None
    assert same(bare)
