"""How much of a Keras model is not to be trained."""

import keras
import pytest

from evengrad.adapters.keras.tap.subject import frozen_share

pytestmark = pytest.mark.keras


def test_frozen_layers_count_and_moving_statistics_do_not():
    base = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    )
    model = keras.Sequential([keras.Input((5,)), base, keras.layers.Dense(3)])
    assert frozen_share(model) == 0.0
    base.trainable = False
    frozen, trained = 5 * 4 + 4 + 4 * 4, 4 * 3 + 3
    assert frozen_share(model) == pytest.approx(frozen / (frozen + trained))
