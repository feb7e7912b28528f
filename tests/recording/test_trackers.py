"""What goes to a tracker, without one: figures, events, findings; a broken one ends no training."""

import importlib.util
import math

import pytest

import evengrad
from evengrad.recording import trackers
from evengrad.recording.trackers import wandb as wandb_sink

torch = pytest.importorskip("torch")


class Kept:
    """A tracker that keeps what it is given."""

    def __init__(self):
        self.config, self.rows, self.events, self.closed = {}, [], [], []

    def start(self, folder, name, config):
        self.folder, self.name, self.config = folder, name, config
        return self

    def figures(self, step, values):
        self.rows.append((step, dict(values)))

    def event(self, step, kind, text):
        self.events.append((step, kind, text))

    def close(self, findings, status):
        self.closed.append(([f.code for f in findings], status))


@pytest.fixture
def kept(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wandb_sink, "PACKAGE", "torch")  # there
    kept = Kept()
    monkeypatch.setattr(wandb_sink, "start", kept.start)
    return kept


def train(bad=None, **settings):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with evengrad.watch(model, optimizer, **settings):
        for step in range(12):
            x = torch.randn(16, 4) * (math.nan if step == bad else 1.0)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def test_the_figures_of_a_run_go_there(kept):
    train(to="wandb", name="mine")
    assert kept.name == "mine"
    assert kept.config["optimizer"] == "SGD"
    steps = [values for _, values in kept.rows if "loss" in values]
    details = [values for _, values in kept.rows if "loss" not in values]
    assert len(steps) == 12
    assert steps[0]["learning_rate"] == 0.01
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert details[0][f"gradient_norm/{name}"] > 0
        assert details[0][f"weight_rms/{name}"] > 0
    total = sum(
        details[0][f"gradient_norm/{n}"] ** 2 for n in ("0.weight", "0.bias", "2.weight", "2.bias")
    )
    assert math.sqrt(total) == pytest.approx(steps[0]["gradient/norm"], rel=1e-6)
    assert details[0]["update_ratio/0.weight"] > 0
    assert kept.closed == [([], "finished")]


def test_findings_and_events_go_there(kept):
    with pytest.raises(evengrad.GuardStopError):
        train(bad=5, to="wandb")
    assert [(step, kind) for step, kind, _ in kept.events] == [(5, "non_finite"), (5, "stop")]
    ((codes, status),) = kept.closed
    assert codes[0] == "EG801"
    assert status == "stopped"


@pytest.mark.parametrize("method", ["start", "figures", "event", "close"])
def test_a_tracker_that_fails_ends_no_training(kept, method, monkeypatch, caplog):
    plain = train(folder=None)

    def broken(*_):
        raise RuntimeError("broken")

    owner, name = (wandb_sink, "start") if method == "start" else (kept, method)
    monkeypatch.setattr(owner, name, broken)
    watched = train(to="wandb")
    assert all(map(torch.equal, plain, watched))
    assert ("broken" in caplog.text) == (method != "event")


def test_without_a_run_file_the_figures_go_there_all_the_same(kept):
    train(to=["wandb"], folder=None)
    assert kept.folder is None
    assert len(kept.rows) > 12


def test_what_there_is():
    assert trackers.names() == ["mlflow", "tensorboard", "trackio", "wandb"]
    with pytest.raises(
        evengrad.EvengradError, match="mlflow, tensorboard, trackio, wandb, got 'comet'"
    ):
        trackers.chosen("comet")


def test_one_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(evengrad.EvengradError, match=r"pip install 'evengrad\[mlflow\]'"):
        trackers.chosen("mlflow")
