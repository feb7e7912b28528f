"""What the patches of Keras scripts look like, and what they leave to the user."""

import pytest
from patch_scripts import KERAS, KERAS_FUNCTIONAL, KERAS_LIST, added, by_hand, patched

from evengrad.fixing.changes.add_normalisation import AddNormalisation
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.finite import Finite
from evengrad.fixing.changes.finite_targets import FiniteTargets
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.loss_scale import LossScale
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.skip import Skip
from evengrad.fixing.patch import write


def test_a_clip_by_a_watch():
    patch = write(KERAS_LIST, [ClipGradients("agc", 0.01)], "keras")
    assert patch.manual == ()
    watch = 'callbacks=[evengrad.keras.Watch(clip="agc:0.01")]'
    assert f"model.fit(x, y, {watch})  # train" in patch.after
    assert "import evengrad\nimport keras\n" in patch.after
    for given, expected in (
        ("callbacks=[stop]", "callbacks=[stop, evengrad.keras."),
        ("callbacks=[]", "callbacks=[evengrad.keras."),
        ("callbacks=stops", "callbacks=[*stops, evengrad.keras."),
    ):
        text = KERAS_LIST.replace("fit(x, y)", f"fit(x, y, {given})")
        assert expected in write(text, [ClipGradients("agc", 0.01)], "keras").after
    assert (
        "callbacks=[evengrad"
        in write(KERAS_FUNCTIONAL, [ClipGradients("agc", 0.01)], "keras").manual[0]
    )


def test_loss_scaling_that_was_switched_off():
    half = 'keras.mixed_precision.set_global_policy("mixed_float16")\n\nx, y = load()'
    text = KERAS_LIST.replace("x, y = load()", half)
    text = text.replace('crossentropy")', 'crossentropy", auto_scale_loss=False)')
    new = added(text, LossScale(64.0), frontend="keras")
    assert new == ['model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")']
    text = KERAS_LIST.replace('"adam"', 'keras.optimizers.LossScaleOptimizer("adam")')
    assert "in the line" in by_hand(text, LossScale(64.0), frontend="keras")


def test_finite_inputs_of_arrays():
    held = KERAS_LIST.replace(
        "fit(x, y)", "fit(x, y, validation_data=(a, b))\nmodel.evaluate(a, b)"
    )
    new = added(held, Finite(), frontend="keras")
    assert "\n".join(new).count("np.nan_to_num(") == 3
    both = added(held, Finite(), FiniteTargets(), frontend="keras")
    assert "\n".join(both).count("np.nan_to_num(") == 6
    for given in ("dataset", "x=x", "x, y, validation_data=held"):
        text = KERAS_LIST.replace("fit(x, y)", f"fit({given})")
        for change in (Finite(), FiniteTargets()):
            by_hand(text, change, frontend="keras")


SKIPPED = {"list": "dense", "add": "dense_1", "functional": "second", "class": "dense2"}


@pytest.mark.parametrize("name", SKIPPED)
@pytest.mark.parametrize("norm", ["batch", None])
def test_skip_is_around_the_layer_and_its_normalisation(name, norm):
    layers = (SKIPPED[name],)
    before = [] if norm is None else [AddNormalisation(norm, layers)]
    patch = patched(KERAS[name], *before, Skip(layers), frontend="keras")
    assert patch.manual == ()
    (line,) = [n for n in patch.after.splitlines() if "SkipInit(" in n and "class" not in n]
    assert ("Sequential([" in line) == (norm is not None)
    assert patch.after.count("BatchNormalization") == (norm is not None)
    assert patch.after.count("class SkipInit(") == 1


def test_skip_that_cannot_be_written():
    by_hand(KERAS["add"], Skip(("dense",)), frontend="keras")  # it tells the model's input shape
    by_hand(KERAS["loop"], Skip(("dense_1",)), frontend="keras")  # one line makes other layers, too
    text = KERAS_FUNCTIONAL.replace(
        ', activation="sigmoid", name="first")(inputs)',
        ', name="first")(inputs)\nz = layers.BatchNormalization()(x)',
    )
    by_hand(text, Skip(("first",)), frontend="keras")  # both are used


def test_frozen_weights():
    new = added(KERAS_LIST, Pretrained("w.weights.h5", 0.0), frontend="keras")
    assert 'model.load_weights("w.weights.h5", skip_mismatch=True)' in new
    assert by_hand(KERAS_LIST, Pretrained("w.weights.h5", 0.5), frontend="keras")
    assert by_hand(KERAS["class"], Pretrained("w.weights.h5", 0.0), frontend="keras")


def test_orthogonal_weights_of_known_widths():
    def drawn(text, layer):
        new = added(text, Initialise((layer,), "tanh", 1.0, "orthogonal"), frontend="keras")
        return "".join(new)

    assert "Orthogonal(2.828)" in drawn(KERAS["add"], "dense")
    assert "Orthogonal(1)" in drawn(KERAS["add"], "dense_1")
    assert "Orthogonal(2.828)" in drawn(KERAS["functional"], "first")
    assert "Orthogonal(1)" in drawn(KERAS["functional"], "second")
    assert "Orthogonal(1)" in drawn(KERAS["class"], "dense_1")
    for name, layer in (("list", "conv2d"), ("list", "dense"), ("class", "dense")):
        by_hand(KERAS[name], Initialise((layer,), "tanh", 1.0, "orthogonal"), frontend="keras")
