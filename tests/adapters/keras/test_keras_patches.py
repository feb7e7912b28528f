"""Other tools patch Keras, too: whoever comes first and whoever leaves first, each keeps what is its own."""

import functools
import logging
import textwrap

import keras
import numpy as np
import pytest
from keras import layers

import evengrad
import evengrad.keras
from evengrad.adapters.common.sessions import Armed
from evengrad.adapters.keras import live, script, trying
from evengrad.recording.session import Watching
from evengrad.recording.settings import settings_of

pytestmark = pytest.mark.keras


class Stopped(BaseException):
    pass


class Session:
    """All that the three doors ask of a session, as far as arming goes."""

    precise, changes, seed, withheld, closed, script = False, (), 0, 0, False, "test"

    several = False

    def __init__(self, tmp_path):
        self.settings = settings_of(None, "stop", 1, tmp_path, "test")
        self.runs, self.calls, self.error = [], [], None

    def watching(self, subject):
        self.runs.append(Watching(self.settings, subject))
        return self.runs[-1]

    def fail(self, error):
        self.error = error
        raise Stopped

    def deliver(self, probe):
        raise Stopped

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)


def wandb_like(seen):
    """Patches ``keras.Model.fit`` as loggers do: what is given by keyword, it reads by keyword."""
    original = keras.Model.fit

    @functools.wraps(original)
    def fit(self, *args, **kwargs):
        seen.append(sorted(kwargs))
        return original(self, *args, **kwargs)

    keras.Model.fit = fit
    return fit


@pytest.fixture
def pristine():
    had = {n: keras.Model.__dict__.get(n) for n in ("fit", "train_on_batch")}
    yield
    for name, function in had.items():
        if function is None:
            if name in keras.Model.__dict__:
                delattr(keras.Model, name)
        else:
            setattr(keras.Model, name, function)


def model(name="net"):
    net = keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)], name=name)
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return net


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(16, 3)).astype("float32"), rng.integers(0, 2, 16)


DOORS = [script, live, trying]


@pytest.mark.parametrize("door", DOORS, ids=lambda d: d.__name__.rpartition(".")[2])
def test_a_wrapper_put_on_before_ours_is_still_there_after(door, pristine, tmp_path):
    seen = []
    theirs = wandb_like(seen)
    armed: Armed = door.arm(Session(tmp_path))
    assert keras.Model.fit is not theirs
    armed.disarm()
    assert keras.Model.fit is theirs
    model().fit(*data(), verbose=0)
    assert seen == [["verbose"]]


@pytest.mark.parametrize("door", DOORS, ids=lambda d: d.__name__.rpartition(".")[2])
def test_a_wrapper_put_on_after_ours_outlives_it(door, pristine, tmp_path):
    seen = []
    session = Session(tmp_path)
    armed = door.arm(session)
    theirs = wandb_like(seen)
    armed.disarm()
    assert keras.Model.fit is theirs
    model().fit(*data(), verbose=0)
    assert seen == [["verbose"]]
    assert not session.calls
    assert not session.runs


def test_a_wrapper_below_sees_the_arguments_as_they_were_given(pristine, tmp_path):
    seen = []
    wandb_like(seen)
    session = Session(tmp_path)
    armed = live.arm(session)
    model().fit(*data(), batch_size=4, verbose=0)
    armed.disarm()
    assert seen == [["batch_size", "callbacks", "verbose"]]
    assert len(session.runs) == 1


def test_a_wrapper_that_hides_the_signature(pristine, tmp_path):
    original = keras.Model.fit

    def hidden(*args, **kwargs):
        return original(*args, **kwargs)

    keras.Model.fit = hidden
    session = Session(tmp_path)
    armed = live.arm(session)
    x, y = data()
    model().fit(x, y, 4, verbose=0)
    armed.disarm()
    assert len(session.runs) == 1


def test_two_armed_doors_leave_in_any_order(pristine, tmp_path):
    before = keras.Model.fit
    one, two = (live.arm(Session(tmp_path)) for _ in range(2))
    one.disarm()
    two.disarm()
    assert keras.Model.fit is before
    assert "fit" not in vars(keras.Model)


def test_a_watch_within_a_run_is_the_one_that_writes(tmp_path):
    session = Session(tmp_path / "outer")
    armed = live.arm(session)
    watch = evengrad.keras.Watch(every=1, folder=tmp_path / "inner")
    net = model()
    net.fit(*data(), callbacks=[watch], batch_size=4, verbose=0)
    armed.disarm()
    assert not session.runs
    assert len(evengrad.load(watch.watching.path).steps["step"]) == 4
    assert "train_step" not in vars(net)


def test_a_second_watch_of_one_training_says_so_and_the_first_goes_on(tmp_path, caplog):
    one, two = (evengrad.keras.Watch(every=1, folder=tmp_path / n) for n in "ab")
    net = model()
    with caplog.at_level(logging.WARNING, "evengrad"):
        net.fit(*data(), callbacks=[one, two], batch_size=4, verbose=0)
    assert "already" in caplog.text
    assert len(evengrad.load(one.watching.path).steps["step"]) == 4
    assert two.watching is None
    assert "train_step" not in vars(net)


def test_a_training_within_a_training(tmp_path):
    inner, outer = model("inner"), model("outer")
    watches = [evengrad.keras.Watch(every=1, folder=tmp_path / n) for n in "ab"]

    class Distil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            inner.fit(*data(), callbacks=[watches[1]], batch_size=8, verbose=0)

    outer.fit(*data(), callbacks=[watches[0], Distil()], batch_size=4, verbose=0)
    assert [len(evengrad.load(w.watching.path).steps["step"]) for w in watches] == [4, 2]
    for net in (inner, outer):
        assert "train_step" not in vars(net)


def test_the_source_lines_of_a_user_whose_folder_has_our_name(tmp_path):
    folder = tmp_path / "evengrad-test"
    folder.mkdir()
    file = folder / "train.py"
    code = """\
    import keras

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = keras.layers.Dense(4), keras.layers.Dense(2)

        def call(self, x):
            x = self.one(x)
            return self.two(keras.ops.tanh(x))
    """
    file.write_text(textwrap.dedent(code))
    scope = {"__name__": "train"}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    net = scope["Net"]()
    net.compile("sgd", "mse")
    x, _ = data()
    found = evengrad.check(net, batch=(x, np.zeros((16, 2), "float32"))).probe
    assert [op.source for op in found.operations] == ["train.py:9", "train.py:10", "train.py:10"]
