"""A live model in float32, whatever its policy was."""

import keras
import numpy as np
import pytest

from evengrad.adapters.keras.change.model import LiveModel
from evengrad.adapters.keras.change.precision import full
from evengrad.errors import CannotChangeError

pytestmark = pytest.mark.keras


def made(policy):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, "relu", dtype=policy), keras.layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    return model


def test_a_mixed_model_computes_in_float32():
    model, x = made("mixed_bfloat16"), np.ones((3, 4), "float32")
    hidden = model.layers[0]
    assert keras.backend.standardize_dtype(hidden(x).dtype) == "bfloat16"
    full(LiveModel(model, x))
    assert keras.backend.standardize_dtype(hidden(x).dtype) == "float32"
    model.fit(x, np.ones((3, 2)), verbose=0)


def test_what_is_in_float32_or_all_in_half_precision_is_refused():
    with pytest.raises(CannotChangeError, match="already"):
        full(LiveModel(made("float32")))
    with pytest.raises(CannotChangeError, match="weights"):
        full(LiveModel(made("bfloat16")))
