"""Stepping into the user's script: the first batch as Keras' own adapters make it."""

import keras
import keras_models
import numpy as np
import pytest

from evengrad.adapters.keras.probe import probe
from evengrad.adapters.keras.script import arm
from evengrad.errors import CannotCheckError

pytestmark = pytest.mark.keras


class Stopped(BaseException):
    pass


class Session:
    """Keeps what the adapter hands over, and stops the script as the runner does."""

    def __init__(self):
        self.started = 0
        self.probe = self.error = None

    precise = several = False

    def starting(self):
        self.started += 1

    def deliver(self, probe):
        self.probe = probe
        raise Stopped

    def fail(self, error):
        self.error = error
        raise Stopped

    def trouble(self, error):
        self.ours = error
        raise Stopped


@pytest.fixture
def session():
    session = Session()
    armed = arm(session)
    yield session
    armed.flush()
    armed.disarm()


def make():
    return keras_models.make("branches", 2)


def data(count=24):
    rng = np.random.default_rng(8)
    return rng.normal(size=(count, 6)).astype("float32"), rng.integers(0, 3, count)


def stopped(session, call):
    with pytest.raises(Stopped):
        call()
    assert session.started == 1
    assert session.error is None, session.error
    return session.probe


def close(ports, others):
    """Of the same tensors, with the same norms to the last digits, that compilers round in their own ways."""
    assert [port.tensor for port in ports] == [port.tensor for port in others]
    assert [port.norm for port in ports] == pytest.approx([port.norm for port in others], rel=1e-6)


def test_arrays(session):
    model, _ = make()
    x, y = data()
    found = stopped(
        session, lambda: model.fit(x, y, batch_size=8, shuffle=False, epochs=3, verbose=0)
    )
    assert found.batch_size == 8
    close(found.outputs, probe(model, batch=(x[:8], y[:8])).outputs)
    assert found.optimizer.name == "SGD"


def test_default_batch_and_validation_split(session):
    model, _ = make()
    x, y = data(40)
    found = stopped(session, lambda: model.fit(x, y, validation_split=0.5))
    assert found.batch_size == 20


def test_generator(session):
    model, _ = make()
    x, y = data()
    batches = ((x[i : i + 6], y[i : i + 6]) for i in range(0, 24, 6))
    found = stopped(session, lambda: model.fit(batches, steps_per_epoch=4))
    close(found.outputs, probe(model, batch=(x[:6], y[:6])).outputs)


def test_pydataset(session):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            x, y = data()
            return x[index * 5 : index * 5 + 5], y[index * 5 : index * 5 + 5]

    model, _ = make()
    assert stopped(session, lambda: model.fit(Batches(), shuffle=False)).batch_size == 5


def test_tf_data(session):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.data is tested where TensorFlow runs")
    import tensorflow as tf

    model, _ = make()
    x, y = data()
    found = stopped(session, lambda: model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(6)))
    close(found.outputs, probe(model, batch=(x[:6], y[:6])).outputs)


def test_torch_loader(session):
    if keras.backend.backend() != "torch":
        pytest.skip("a DataLoader is tested where PyTorch runs")
    import torch

    model, _ = make()
    tensors = torch.utils.data.TensorDataset(*map(torch.from_numpy, data()))
    found = stopped(session, lambda: model.fit(torch.utils.data.DataLoader(tensors, batch_size=6)))
    assert found.batch_size == 6


def test_class_weights_count(session):
    model, _ = make()
    x, y = data()
    weights = {0: 0.5, 1: 1.0, 2: 3.0}
    found = stopped(
        session, lambda: model.fit(x, y, batch_size=24, shuffle=False, class_weight=weights)
    )
    sample = np.array([weights[int(c)] for c in y], "float32")
    expected = probe(model, batch=(x, y, sample)).outputs[0].norm
    assert found.outputs[0].norm == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(probe(model, batch=(x, y)).outputs[0].norm, rel=1e-3)


def test_train_on_batch(session):
    model, _ = make()
    x, y = data()
    assert stopped(session, lambda: model.train_on_batch(x, y)).batch_size == 24


def test_a_fit_of_the_users_own(session):
    class Own(keras.Sequential):
        def fit(self, *args, **kwargs):
            return super().fit(*args, **kwargs)

    model = Own([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile(
        optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    assert stopped(session, lambda: model.fit(*data())).backend == keras.backend.backend()


def test_nothing_is_trained(session):
    model, _ = make()
    before = model.get_weights()
    stopped(session, lambda: model.fit(*data()))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compiled", [{}, {"optimizer": "sgd"}])
def test_refusals_say_what_to_do(session, compiled):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    if compiled:
        model.compile(**compiled)
    with pytest.raises(Stopped):
        model.fit(*data())
    if compiled and keras.backend.backend() == "jax":  # Keras trains there on nothing
        assert session.probe.facts[0].kind == "weights_unreached"
        return
    assert isinstance(session.error, CannotCheckError)
    assert "compile" in str(session.error)


def test_empty_data(session):
    model, _ = make()
    with pytest.raises(Stopped):
        model.fit((batch for batch in ()), steps_per_epoch=1)
    assert "empty" in str(session.error)


def test_disarm_restores_keras():
    fit, train = keras.Model.fit, keras.Model.train_on_batch
    armed = arm(Session())
    assert keras.Model.fit is not fit
    armed.disarm()
    assert keras.Model.fit is fit
    assert keras.Model.train_on_batch is train


def test_a_loop_of_the_scripts_own_is_measured_before_it_trains(session):
    model, _ = make()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    before = model.get_weights()
    gradients = [keras.ops.ones_like(v.value) for v in model.trainable_variables]
    values = [v.value for v in model.trainable_variables]
    state = [v.value for v in optimizer.variables]

    def update():
        if keras.backend.backend() == "jax":
            return optimizer.stateless_apply(state, gradients, values)
        return optimizer.apply(gradients)

    found = stopped(session, update)
    assert found.optimizer.name == "SGD"
    assert [w.gradient.rms for w in found.weights] == pytest.approx([1.0] * len(gradients))
    assert [w.update for w in found.weights] == pytest.approx([0.1] * len(gradients), rel=1e-4)
    assert "could not be measured" in found.notes[0]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_updates_are_measured_while_armed(session):
    model, _ = make()
    stopped(session, lambda: model.fit(*data()))
    assert session.probe.notes == ()
    assert all(w.update is not None for w in session.probe.weights if w.gradient is not None)


def test_a_failure_of_our_own_is_told_apart(session, monkeypatch):
    def broken(*_, **__):
        raise KeyError("ours")

    monkeypatch.setattr("evengrad.adapters.keras.probe.Replay", broken)
    model, _ = make()
    with pytest.raises(Stopped):
        model.fit(*data(), verbose=0)
    assert session.error is None
    assert isinstance(session.ours, KeyError)


@pytest.mark.parametrize("mistake", ["shape", "labels", "call"])
def test_a_model_that_fails_by_itself_is_the_users(session, mistake):
    model, _ = make()
    x, y = data()
    if mistake == "shape":
        x = x[:, :2]
    if mistake == "labels":
        y = np.ones((24, 2, 5), "float32")
    if mistake == "call":

        def call(*_, **__):
            raise RuntimeError("theirs")

        model = keras.Sequential([keras.layers.Lambda(call)])
        model.compile("sgd", "mse")
    with pytest.raises(Stopped):
        model.fit(x, y, verbose=0)
    assert isinstance(session.error, CannotCheckError), session.error
