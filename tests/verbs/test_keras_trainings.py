"""`check` looks at every training of a Keras script in turn, on any backend."""

import math
import textwrap

import pytest

from evengrad.verbs.check import check_probe
from evengrad.verbs.check_script import probe_trainings

pytestmark = pytest.mark.keras

START = """
import keras, numpy as np
keras.utils.set_random_seed(0)
noise = np.random.default_rng(0)
x = noise.normal(size=(60, 4)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
"""
UNFREEZE = (
    START
    + """
body = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu")])
model = keras.Sequential([body, keras.layers.Dense(2, "softmax")])
body.trainable = False
model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
model.fit(x, y, epochs=3, verbose=0, shuffle=False)
body.trainable = True
model.compile(keras.optimizers.SGD(1000.0), "sparse_categorical_crossentropy")
model.fit(x, y, epochs=2, verbose=0, shuffle=False)
"""
)
FOLDS = (
    START
    + """
def build():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("adam", loss)
    return made

for fold in range(2):
    model = build()
    for epoch in range(2):
        model.fit(x[fold::2], y[fold::2], verbose=0)
"""
)
GAN = (
    START
    + """
generator = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(4)])
critic = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1, "sigmoid")])
critic.compile(keras.optimizers.Adam(2e-4), "binary_crossentropy")
critic.trainable = False
gan = keras.Sequential([generator, critic])
gan.compile(keras.optimizers.Adam(2e-4), "binary_crossentropy")
critic.trainable = True
for step in range(3):
    z = noise.normal(size=(30, 3)).astype("float32")
    critic.train_on_batch(x[:30], np.ones((30, 1)))
    critic.train_on_batch(generator.predict(z, verbose=0), np.zeros((30, 1)))
    gan.train_on_batch(z, np.ones((30, 1)))
"""
)
GENERATOR = (
    START
    + """
def batches():
    for i in range(0, 60, 20):
        print("batch", i)
        yield x[i:i + 20], y[i:i + 20]

for width in (4, 8):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(width), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(batches(), verbose=0)
"""
)


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    """Runs a script."""
    monkeypatch.chdir(tmp_path)

    def found(text, **options):
        (tmp_path / "train.py").write_text(textwrap.dedent(text))
        return probe_trainings("train.py", **options)

    return found


def test_the_second_fit_is_measured_with_the_first_really_made(trainings):
    found = trainings(UNFREEZE)
    assert [probe.optimizer.name for probe in found.probes] == ["Adam", "SGD"]
    assert [probe.training.where.line for probe in found.probes] == [12, 15]
    names = {}
    exec(UNFREEZE.partition("body.trainable = True")[0], names)
    first = names["model"].evaluate(names["x"][:32], names["y"][:32], verbose=0)
    assert math.isclose(found.probes[1].loss.value, first, rel_tol=1e-4)
    assert found.ahead is None


def test_weights_that_are_unfrozen_without_a_compile_are_seen(trainings):
    text = UNFREEZE.replace(
        'model.compile(keras.optimizers.SGD(1000.0), "sparse_categorical_crossentropy")', ""
    )
    found = trainings(text)
    assert len(found.probes) == 2
    findings = check_probe(found.probes[1]).findings
    assert findings[0].code == "EG912"
    assert "compile" in " ".join(findings[0].advice)
    assert not check_probe(found.probes[0]).findings


def test_every_model_of_a_loop_is_a_training_and_its_epochs_are_not(trainings):
    found = trainings(FOLDS, patience=60.0)
    assert [probe.training.number for probe in found.probes] == [1, 2]
    assert found.ahead is None


def test_both_models_of_a_gan_are_looked_at(trainings):
    found = trainings(GAN, patience=60.0)
    named = [probe.training.name for probe in found.probes]
    assert named[0] == "critic by Adam"
    assert "gan by Adam" in named


def test_one_fit_can_be_chosen(trainings):
    found = trainings(UNFREEZE, fit=2)
    assert [probe.optimizer.name for probe in found.probes] == ["SGD"]
    assert found.probes[0].training.number == 2


def test_a_generator_loses_no_batch(trainings, capsys):
    found = trainings(GENERATOR, patience=60.0)
    assert len(found.probes) == 2
    assert capsys.readouterr().out.count("batch 0") == 2


def test_a_script_with_one_fit_is_stopped_before_it_trains(trainings, capsys):
    found = trainings(UNFREEZE.partition("body.trainable = True")[0] + "print('trained')\n")
    assert len(found.probes) == 1
    assert "trained" not in capsys.readouterr().out


NORM = """
import keras, numpy as np
keras.utils.set_random_seed(0)
noise = np.random.default_rng(0)
x = noise.normal(size=(32, 4)).astype("float32")
y = noise.normal(size=(32, 1)).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
model.compile(keras.optimizers.SGD(1e-3), keras.losses.MeanSquaredError(reduction={reduction!r}))
kernel = model.get_weights()[0]
exact = float(np.linalg.norm(2 / 32 * x.T @ (x @ kernel - y)))
model.fit(x, y, batch_size=32, epochs=1, shuffle=False, verbose=0)
"""


@pytest.mark.parametrize(("reduction", "factor"), [("sum_over_batch_size", 1), ("sum", 32)])
def test_the_norm_is_the_product_of_its_factors(trainings, reduction, factor):
    text, names = NORM.format(reduction=reduction), {}
    exec(text.partition("model.fit")[0], names)
    found = check_probe(trainings(text).probes[0]).norm
    assert math.isclose(found.mean, names["exact"], rel_tol=1e-4)
    assert found.summed == factor
    assert math.isclose(found.norm, names["exact"] * factor, rel_tol=1e-4)
