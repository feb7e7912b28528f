"""``evengrad.keras.Watch``: a healthy training is not changed by a bit, and nothing bad reaches a weight."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import evengrad
import evengrad.keras
from evengrad.adapters.keras.tap.tap import KerasTap
from evengrad.recording import blackbox
from evengrad.recording.guard import Action, Guard

pytestmark = pytest.mark.keras
BACKEND = keras.backend.backend()
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(autouse=True)
def float32():
    yield
    keras.mixed_precision.set_global_policy("float32")


def data(seed=0, rows=75):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 6, 6, 1)).astype("float32"), rng.integers(0, 4, rows)


def model(seed=0, optimizer=None, middle=(), loss=LOSS, policy=None, **compiled):
    keras.mixed_precision.set_global_policy(policy or "float32")
    keras.utils.set_random_seed(seed)
    optimizer = optimizer() if callable(optimizer) else optimizer or "adam"
    found = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(3, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.Flatten(name="flat"),
            *(middle() if callable(middle) else middle),
            layers.Dropout(0.2, name="drop"),
            layers.Dense(4, dtype="float32", name="head"),
        ]
    )
    found.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], **compiled)
    return found


def fit(found, x, y, *callbacks, **more):
    keras.utils.set_random_seed(1)  # on PyTorch dropout draws from its generator
    given = {"batch_size": 16, "verbose": 0, "shuffle": False, **more}
    return found.fit(x, y, callbacks=list(callbacks), **given).history


def everything(found):
    """Weights, moving statistics and optimizer state (no seeds)."""
    variables = [*found.variables, *found.optimizer.variables]
    return [np.array(ops.convert_to_numpy(v)) for v in variables if "seed" not in v.path]


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def trace_of(found):
    """Whatever a watch might leave behind."""
    optimizer = getattr(found.optimizer, "inner_optimizer", found.optimizer)
    own = [sorted(vars(o)) for o in (found.optimizer, optimizer, found._loss_tracker)]
    names = [n for n in vars(found) if n in ("train_step", "_autoconvert_optionals")]
    return own, names, [v.path for v in found.optimizer.variables], found.train_function


def large():
    """More elements than may be copied with every step."""
    more = {"kernel_regularizer": keras.regularizers.L2(1e-3)}
    return layers.Dense(160, activation="gelu", **more), layers.Dense(64, activation="tanh")


SETTINGS = {
    "plain": {},
    "large": {"middle": large},
    "large_sgd": {"middle": large, "optimizer": lambda: keras.optimizers.SGD(0.05, momentum=0.9)},
    "large_clipnorm": {"middle": large, "optimizer": lambda: keras.optimizers.AdamW(clipnorm=0.1)},
    "sgd": {"optimizer": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)},
    "accumulation": {"optimizer": lambda: keras.optimizers.Adam(gradient_accumulation_steps=3)},
    "mixed": {"policy": "mixed_float16"},
    "clipnorm": {"optimizer": lambda: keras.optimizers.AdamW(clipnorm=0.1, use_ema=True)},
}
if BACKEND == "tensorflow":
    SETTINGS["jit"] = {"jit_compile": True}
    SETTINGS["plain_sgd"] = {"optimizer": lambda: keras.optimizers.SGD(0.1, use_ema=True)}
    SETTINGS["eager"] = {"run_eagerly": True}
if BACKEND != "torch":
    SETTINGS["steps_per_execution"] = {"steps_per_execution": 3}


@pytest.mark.optimised
@pytest.mark.parametrize("name", SETTINGS)
def test_watching_changes_no_bit(name, tmp_path):
    given = SETTINGS[name]
    x, y = data(1)
    plain, watched = model(1, **given), model(1, **given)
    first = fit(plain, x, y, epochs=3)
    watch = evengrad.keras.Watch(folder=tmp_path, every=5)
    second = fit(watched, x, y, watch, epochs=3)
    assert first == {k: v for k, v in second.items() if k in first}
    assert len(second["grad_norm"]) == 3
    assert_same(everything(plain), everything(watched))
    run = evengrad.load(watch.watching.path)
    assert run.status == "finished"
    assert run.steps["step"].tolist() == list(range(15))
    done = run.steps["applied"] == 1
    assert done.any()
    assert np.isfinite(run.steps["norm"][done]).all()
    assert np.isfinite(run.steps["loss"]).all()


def test_leaves_no_trace(tmp_path):
    x, y = data(2)
    found = model(2)
    fit(found, x, y)
    before = trace_of(found)
    watch = evengrad.keras.Watch(folder=tmp_path, clip="auto")
    fit(found, x, y, watch)
    assert trace_of(found) == before
    fit(found, x, y, watch)
    assert trace_of(found) == before
    assert len(evengrad.load(watch.watching.path).steps["step"]) == 5


def test_figures_of_the_observed_steps(tmp_path):
    """Against the gradient, weights and update of a plain SGD step."""
    x, y = data(3, 16)
    found = model(3, keras.optimizers.SGD(0.5))
    before = [np.array(w) for w in (v.numpy() for v in found.trainable_variables)]
    watch = evengrad.keras.Watch(folder=tmp_path)
    fit(found, x, y, watch, steps_per_epoch=1)
    after = [np.array(ops.convert_to_numpy(v)) for v in found.trainable_variables]
    details = evengrad.load(watch.watching.path).details
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        update = np.sqrt(np.mean((new - old) ** 2))
        assert details["update_rms"][i] == pytest.approx(update, rel=1e-4)
        assert details["gradient_rms"][i] == pytest.approx(update / 0.5, rel=1e-3)
        assert details["gradient_max"][i] == pytest.approx(np.abs(new - old).max() / 0.5, rel=1e-3)
        assert details["weight_rms"][i] == pytest.approx(np.sqrt(np.mean(new**2)), rel=1e-5)


@pytest.mark.parametrize("style", ["fused", "apart"])
def test_activations_are_sampled(style, tmp_path):
    """Against the activations themselves, of a training that does not move."""
    keras.utils.set_random_seed(4)
    fused = style == "fused"
    found = keras.Sequential(
        [
            keras.Input((7,)),
            layers.Dense(20, activation="relu" if fused else None, name="one"),
            *([] if fused else [layers.ReLU(name="relu")]),
            layers.Dense(5, activation="tanh", name="two"),
            layers.Dense(4, name="head"),
        ]
    )
    found.compile(keras.optimizers.SGD(0.0), LOSS)
    bias = np.zeros(20, "float32")
    bias[:5] = -100.0
    kernel, _ = found.get_layer("one").get_weights()
    found.get_layer("one").set_weights([kernel, bias])
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(24 * 64, 7)).astype("float32"), rng.integers(0, 4, 24 * 64)
    watch = evengrad.keras.Watch(folder=tmp_path, every=10)
    found.fit(x, y, 64, shuffle=False, verbose=0, callbacks=[watch])
    run = evengrad.load(watch.watching.path)
    assert run.layers == (("one" if fused else "relu"), "two")
    assert run.samples["step"].tolist() == [10, 10, 20, 20]
    batch = x[20 * 64 : 21 * 64]
    one = np.maximum(batch @ kernel + bias, 0)
    two = np.tanh(one @ found.get_layer("two").get_weights()[0])
    rms = [np.sqrt(np.mean(a**2)) for a in (one, two)]
    assert run.samples["activation_rms"][-2:] == pytest.approx(rms, rel=1e-4)
    assert run.samples["dead"][-2] == pytest.approx(0.25)
    assert run.samples["saturated"][-1] == pytest.approx(np.mean(np.abs(two) > 0.99), abs=0.02)


def test_wrong_use_says_what_to_do():
    with pytest.raises(evengrad.EvengradError, match=r"evengrad\.keras\.Watch"):
        evengrad.watch(model(), None)
    with pytest.raises(evengrad.EvengradError, match="hop"):
        evengrad.keras.Watch(guard="hop")


def bad_log(x):
    return ops.log(ops.abs(x) - 1e9)


def huge(x):
    return x * 1e30


FAULTS = {
    "image": ({}, ("input", "batch")),
    "activation": ({"middle": lambda: [layers.Lambda(bad_log, name="log")]}, ("log", "forward")),
    "overflow": ({"middle": lambda: [layers.Lambda(lambda x: huge(huge(x)), name="huge")]}, None),
    "loss": ({"loss": lambda: lambda y, p: ops.sqrt(ops.mean(p, -1) - 1e9)}, None),
    "gradient": ({"loss": lambda: lambda y, p: 1e22 * ops.mean(p, -1)}, None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_step_reaches_nothing(fault, tmp_path):
    """PEERS trap 3: one NaN pixel, which TerminateOnNaN does not see where relu swallows it."""
    given, origin = FAULTS[fault]
    x, y = data(4, 48)
    x[2, 3, 3, 0] = np.nan if fault == "image" else 0.5
    found = model(4, **{k: v() for k, v in given.items()})
    found.optimizer.build(found.trainable_variables)
    before = everything(found)
    watch = evengrad.keras.Watch(folder=tmp_path)
    with pytest.raises(evengrad.GuardStopError):
        fit(found, x, y, watch)
    assert_same(before, everything(found))
    run = evengrad.load(watch.watching.path)
    assert run.status == "stopped"
    assert run.failure.step == 0
    assert run.failure.layer is not None
    box = blackbox.load(watch.watching.path.parent)
    np.testing.assert_array_equal(box.batch["x"], x[:16])
    np.testing.assert_array_equal(box.batch["y"].ravel(), y[:16])
    if origin is not None:
        assert (box.origin.layer, box.origin.phase) == origin
    head = next(v for v in found.trainable_variables if "head/kernel" in v.path)
    np.testing.assert_array_equal(box.weights["head/kernel"], ops.convert_to_numpy(head))


def test_tiny_gradients_are_read_exactly(tmp_path):
    """1e-24: its square is no float32 number."""
    x, y = data(5, 16)
    norms = []
    for scale in (1.0, 2.0**-80):
        found = model(5, "sgd", loss=lambda y, p, s=scale: s * ops.mean(p, -1))
        watch = evengrad.keras.Watch(folder=tmp_path)
        fit(found, x, y, watch)
        norms.append(evengrad.load(watch.watching.path).steps["norm"][0])
    assert norms[1] == pytest.approx(norms[0] * 2.0**-80, rel=1e-4)
    assert norms[1] > 0


def test_gradients_whose_shape_is_not_known_while_tracing(tmp_path):
    """TensorFlow does not know it of a Dense behind a Permute."""
    keras.utils.set_random_seed(12)
    stack = [layers.Dense(5), layers.Permute((2, 1)), layers.Dense(3), layers.Flatten()]
    found = keras.Sequential([keras.Input((4, 6)), *stack, layers.Dense(4, name="head")])
    found.compile(keras.optimizers.SGD(0.1), LOSS)
    x, y = np.random.default_rng(2).normal(size=(24, 4, 6)).astype("float32"), np.arange(24) % 4
    before = everything(found)[: len(found.trainable_variables)]
    watch = evengrad.keras.Watch(folder=tmp_path)
    fit(found, x, y, watch, steps_per_epoch=1)
    after = everything(found)[: len(before)]
    moved = [(b - a) / 0.1 for a, b in zip(after, before, strict=True)]
    run = evengrad.load(watch.watching.path)
    assert run.steps["norm"][0] == pytest.approx(
        np.sqrt(sum((m**2).sum() for m in moved)), rel=1e-4
    )
    first = run.details["step"] == 0
    largest = [np.abs(m).max() for m in moved]
    assert run.details["gradient_max"][first] == pytest.approx(largest, rel=1e-3)


def embedded():
    keras.utils.set_random_seed(13)
    found = keras.Sequential([layers.Embedding(20, 4), layers.GRU(5), layers.Dense(4)])
    found.compile(keras.optimizers.Adam(0.01), LOSS)
    return found


def test_gradients_of_embeddings_are_watched(tmp_path, caplog):
    """TensorFlow gives them as slices; all is seen, and no bit is changed."""
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 20, (48, 6)), rng.integers(0, 4, 48)
    plain, watched = embedded(), embedded()
    fit(plain, x, y)
    watch = evengrad.keras.Watch(folder=tmp_path)
    fit(watched, x, y, watch)
    assert_same(everything(plain), everything(watched))
    assert not any("evengrad itself failed" in r.message for r in caplog.records)
    run = evengrad.load(watch.watching.path)
    assert (run.steps["norm"] > 0).tolist() == [True] * 3


def without(x, y, *steps):
    keep = np.ones(len(x), bool)
    for step in steps:
        keep[16 * step : 16 * step + 16] = False
    return x[keep], y[keep]


@pytest.mark.optimised
def test_skip_is_a_training_without_that_batch(tmp_path):
    x, y = data(6, 80)
    plain, watched = (model(6) for _ in range(2))
    for found in (plain, watched):
        found.get_layer("drop").rate = 0.0
    expected = fit(plain, *without(x, y, 2))
    bad = x.copy()
    bad[37, 0, 0, 0] = np.inf
    watch = evengrad.keras.Watch(folder=tmp_path, guard="skip")
    history = fit(watched, bad, y, watch)
    assert_same(everything(plain), everything(watched))
    assert history["loss"] == expected["loss"]
    run = evengrad.load(watch.watching.path)
    assert run.steps["applied"].tolist() == [1, 1, 0, 1, 1]
    assert [e.kind for e in run.events] == ["non_finite", "skip"]


def test_skips_in_a_row_stop_after_all(tmp_path):
    x, y = data(7, 96)
    x[16:] = np.nan
    found = model(7)
    watch = evengrad.keras.Watch(folder=tmp_path, guard="skip:2")
    with pytest.raises(evengrad.GuardStopError, match="Step 3"):
        fit(found, x, y, watch)
    assert all(np.isfinite(v).all() for v in everything(found))


def test_rollback_puts_back_and_lowers_the_rate(tmp_path):
    x, y = data(8, 80)
    found = model(8, keras.optimizers.SGD(0.01, momentum=0.9))
    x[48] = np.nan
    kept = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if BACKEND == "jax":
                self.model.jax_state_sync()
            kept.append(everything(self.model))

    watch = evengrad.keras.Watch(folder=tmp_path, guard=Guard(Action.ROLLBACK, 2, lower=0.25))
    fit(found, x, y, watch, Keep())
    rate = float(ops.convert_to_numpy(found.optimizer.learning_rate))
    assert rate == pytest.approx(0.0025)
    weights = len(found.trainable_variables)
    assert_same(kept[2][:weights], kept[3][:weights])
    assert not np.array_equal(kept[3][0], kept[4][0])
    run = evengrad.load(watch.watching.path)
    assert [e.kind for e in run.events] == ["non_finite", "rollback"]
    assert run.steps["applied"].tolist() == [1, 1, 1, 0, 1]


def test_what_is_saved_while_watched_loads_without(tmp_path):
    x, y = data(9)
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    watched = model(9)
    fit(watched, x, y, evengrad.keras.Watch(folder=tmp_path, clip="auto"), checkpoint, epochs=2)
    plain = keras.models.load_model(tmp_path / "1.keras")
    weights = list(plain.optimizer.variables)
    assert len(weights) == len(watched.optimizer.variables)
    assert any(np.abs(ops.convert_to_numpy(v)).max() > 0 for v in weights[2:])
    same = model(9)
    fit(same, x, y)
    assert_same([v.numpy() for v in same.optimizer.variables], [v.numpy() for v in weights])
    plain.save(tmp_path / "plain.keras")
    again = keras.models.load_model(tmp_path / "plain.keras")
    fit(again, x, y, evengrad.keras.Watch(folder=tmp_path))
    fit(plain, x, y)
    assert_same(everything(again)[:4], everything(plain)[:4])


def test_a_backup_survives_a_stop(tmp_path):
    x, y = data(10)
    found = model(10)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"), save_freq=1)
    bad = x.copy()
    bad[40] = np.nan
    with pytest.raises(evengrad.GuardStopError):
        fit(found, bad, y, evengrad.keras.Watch(folder=tmp_path), backup)
    assert list((tmp_path / "backup").iterdir())


@pytest.mark.parametrize("place", ["look", "figures"])
def test_an_error_of_ours_leaves_the_training_going(place, tmp_path, monkeypatch, caplog):
    x, y = data(11)
    plain, watched = model(11), model(11)
    expected = fit(plain, x, y)

    def broken(*_):
        raise RuntimeError("broken")

    if place == "look":
        kind = KerasTap
        if BACKEND == "torch":
            from evengrad.adapters.keras.tap.tap_torch import TorchTap as kind
        monkeypatch.setattr(kind, "look", broken)
    else:
        monkeypatch.setattr("evengrad.adapters.keras.tap.watched.figures", broken)
    history = fit(watched, x, y, evengrad.keras.Watch(folder=tmp_path))
    assert history["loss"] == expected["loss"]
    assert_same(everything(plain), everything(watched))
    assert sum("evengrad itself failed" in r.message for r in caplog.records) == 1


def test_mixed_precision_skips_are_told_apart(tmp_path):
    """The loss scaler's own search for its scale is no failure."""
    x, y = data(12, 160)
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.01), initial_scale=2.0**40
    )
    found = model(12, optimizer, policy="mixed_float16")
    watch = evengrad.keras.Watch(folder=tmp_path)
    fit(found, x, y, watch, epochs=5)
    run = evengrad.load(watch.watching.path)
    applied = run.steps["applied"]
    assert applied[0] == 0
    assert applied[-1] == 1
    assert np.isfinite(run.steps["norm"][applied == 1]).all()
    assert {e.kind for e in run.events} == {"scaler"}
    assert all(np.isfinite(v).all() for v in everything(found))


@pytest.mark.parametrize("fails", [False, True])
def test_a_listener_is_given_every_step_and_its_errors_end_nothing(fails, caplog):
    x, y = data()
    plain, listened = model(), model()
    history = fit(plain, x, y, epochs=2)
    given = []

    class Listener:
        def begin(self, subject, path):
            given.append((subject.frontend, path))

        def step(self, step):
            given.append(step.step)
            if fails and step.step == 4:
                raise RuntimeError("my own fault")

        def detail(self, detail):
            given.append("detail")

        def event(self, event): ...

        def end(self, status):
            given.append(status)

    watch = evengrad.keras.Watch(folder=None, every=5, listener=Listener())
    assert fit(listened, x, y, watch, epochs=2)["loss"] == history["loss"]
    for left, right in zip(everything(plain), everything(listened), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not watch.watching.off
    assert given[0] == ("keras", None)
    steps = [step for step in given if isinstance(step, int)]
    assert steps == list(range(5 if fails else 10))
    assert ("finished" in given, "detail" in given) == (not fails, True)
    assert caplog.text.count("my own fault") == fails
