"""Layers that a script does not name have the same names whenever it is looked at."""

from __future__ import annotations

import textwrap

import pytest

from evengrad.verbs.check_script import probe_script

pytestmark = pytest.mark.keras

SCRIPT = """
    import keras
    import numpy as np
    x = np.ones((64, 4), "float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], verbose=0)
"""


def test_a_second_look_in_one_process(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    first, second = (probe_script(str(script)) for _ in range(2))
    names = [operation.layer for operation in first.operations]
    assert "dense" in names
    assert [operation.layer for operation in second.operations] == names
