"""Keras: a probe or a watch that fails by our fault is told from a model that cannot be called at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from evengrad.adapters.keras import script
from evengrad.adapters.keras.tap.watched import Watched
from evengrad.cli import app

pytestmark = pytest.mark.keras

_SCRIPT = """
import keras, numpy as np
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
x = np.random.normal(size=(64, {width})).astype("float32")
model.fit(x, (x[:, 0] > 0).astype("int32"), batch_size=16, verbose=0)
print("the script's last line")
"""


def planted(*_, **__):
    raise AttributeError("planted")


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def invoke(verb, width=4):
        Path("train.py").write_text(_SCRIPT.format(width=width))
        return CliRunner().invoke(app, [verb, "train.py", "--no-html"])

    return invoke


@pytest.mark.parametrize("name", ["arm", "probe"])
def test_check(call, monkeypatch, name):
    monkeypatch.setattr(script, name, planted)
    done = call("check")
    assert done.exit_code == 2, done.output
    assert done.stderr.count("evengrad itself failed") == 1, done.stderr
    assert "AttributeError: planted" in done.stderr
    assert "last line" not in done.stdout


def test_a_model_that_does_not_fit_its_data_is_the_scripts_fault(call):
    done = call("check", width=5)
    assert done.exit_code == 2
    assert "itself failed" not in done.stderr
    assert "cannot be called on its first batch" in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["__init__", "put_on"])
def test_run_goes_on_to_the_scripts_end(call, monkeypatch, name):
    monkeypatch.setattr(Watched, name, planted)
    done = call("run")
    assert done.exit_code == 2, done.output
    assert done.stderr.count("evengrad itself failed") == 1, done.stderr
    assert "the script's last line" in done.stdout
