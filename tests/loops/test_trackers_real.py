"""Each tracker's own package, offline: what a run has handed on is read back there."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.loops
SICK = """
import torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for step in range(14):
    x = torch.randn(16, 4)
    if step == 12:
        x[0] = float("nan")
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/ml.db")
    (tmp_path / "train.py").write_text(SICK)
    return tmp_path


def run(name):
    pytest.importorskip(name)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "evengrad",
            "run",
            "--no-html",
            "--no-rerun",
            "--to",
            name,
            "train.py",
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=200,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "could not be handed on" not in done.stderr
    assert "the listener" not in done.stderr


def test_tensorboard():
    run("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (place,) = Path("runs").glob("*/tensorboard")
    found = EventAccumulator(str(place))
    found.Reload()
    assert [one.step for one in found.Scalars("loss")] == list(range(13))
    assert found.Scalars("gradient_norm/0.weight")
    (text,) = [
        one.tensor_proto.string_val[0] for one in found.Tensors("evengrad/findings/text_summary")
    ]
    assert b"EG801 error" in text


def test_wandb():
    run("wandb")
    (place,) = Path("runs").glob("*/wandb/offline-run-*")
    (table,) = place.glob("files/media/table/evengrad/findings_*.json")
    assert json.loads(table.read_text())["data"][0][0] == "EG801"
    (log,) = place.glob("*.wandb")
    assert b"gradient_norm/0.weight" in log.read_bytes()


def test_mlflow():
    run("mlflow")
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("evengrad")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FAILED"
    assert "EG801" in found.data.tags["evengrad.findings"]
    assert found.data.params["optimizer"] == "SGD"
    history = client.get_metric_history(found.info.run_id, "gradient/norm")
    assert [one.step for one in history] == list(range(13))
    assert "gradient_norm/0.weight" in found.data.metrics


def test_trackio():
    run("trackio")
    import trackio

    (found,) = trackio.Api().runs("evengrad")
    with sqlite3.connect("trackio/evengrad.db") as stored:
        rows = stored.execute("SELECT step, metrics FROM metrics").fetchall()
    assert {step for step, text in rows if "loss" in json.loads(text)} == set(range(13))
    assert any("EG801" in alert["title"] for alert in found.alerts())
