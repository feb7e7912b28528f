"""evengrad.check on what is no model."""

import pytest

import evengrad


@pytest.mark.parametrize("model", [None, 3, "model", object()])
def test_not_a_model(model):
    with pytest.raises(
        evengrad.CannotCheckError, match=r"Expected a torch.nn.Module, a Keras 3, flax or Eq"
    ):
        evengrad.check(model, batch=([1.0], [0]))


def test_legacy_keras_model():
    legacy = type("Model", (), {"__module__": "tf_keras.src.engine"})()
    with pytest.raises(evengrad.CannotCheckError, match="Keras 2"):
        evengrad.check(legacy, batch=([1.0], [0]))
