"""The run file: what goes in comes out, whatever happens to the process, the disk and the folder."""

import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from evengrad.errors import EvengradError
from evengrad.recording import reader
from evengrad.recording import writer as store
from evengrad.recording.session import Watching
from evengrad.recording.settings import Settings
from evengrad.values.run import Detail, Event, EventKind, Step, Subject, Tensor

TENSORS = (Tensor("a.weight", "a", (4, 3), 3.0), Tensor("a.bias", "a", (4,)))
SUBJECT = Subject("train.py", "Net", "SGD", "torch", "torch", ("torch 2",), TENSORS, {"clip": None})


def step(number, **given):
    values = {"loss": 1.0, "rate": 0.1, "norm": 2.0, "clipped": 1.0} | given
    return Step(number, time=number / 10, **values)


def detail(number, tensors=2, layers=("relu",)):
    generator = np.random.default_rng(number)
    return Detail(
        number, generator.random((tensors, 5)), generator.random((len(layers), 3)), layers
    )


def write(folder, work):
    errors = []
    writer = store.Writer(folder, SUBJECT, errors.append)
    work(writer)
    writer.close("finished")
    return reader.load(folder), errors


def test_what_goes_in_comes_out(tmp_path):
    event = Event(3, EventKind.SPIKE, "text", "a", {"norm": 5.0})

    def work(writer):
        for number in range(5):
            writer.step(step(number, loss=float(number), applied=number != 2, non_finite=number))
        writer.detail(detail(0))
        writer.detail(detail(4, layers=("relu", "tanh")))
        writer.recent([(3, np.array([1.0, 2.0])), (4, np.array([3.0, math.nan]))])
        writer.event(event)

    run, errors = write(tmp_path, work)
    assert not errors
    assert (run.status, run.subject, run.events) == ("finished", SUBJECT, (event,))
    assert run.layers == ("relu", "tanh")
    assert run.steps["loss"].tolist() == [0, 1, 2, 3, 4]
    assert run.steps["applied"].tolist() == [1, 1, 0, 1, 1]
    table = np.stack([run.details[n] for n in list(run.details)[2:]], axis=1)
    assert (table == np.vstack([detail(0).tensors, detail(4).tensors])).all()
    assert run.samples["layer"].tolist() == [0, 0, 1]
    assert run.recent["gradient_rms"][:3].tolist() == [1, 2, 3]
    assert np.isnan(run.recent["gradient_rms"][3])


def test_nan_and_infinities_stay_what_they_are(tmp_path):
    run, _ = write(
        tmp_path, lambda w: w.step(step(0, loss=math.nan, norm=math.inf, clipped=-math.inf))
    )
    assert math.isnan(run.steps["loss"][0])
    assert [run.steps[name][0] for name in ("norm", "clipped")] == [math.inf, -math.inf]


def test_plain_sqlite_reads_it(tmp_path):
    run, _ = write(tmp_path, lambda w: w.step(step(7)))
    with sqlite3.connect(run.path) as connection:
        assert connection.execute("SELECT step, norm FROM steps").fetchall() == [(7, 2.0)]


def test_frames_have_names(tmp_path):
    run, _ = write(tmp_path, lambda w: w.detail(detail(0)))
    assert run.frame("details")["tensor"].tolist() == ["a.weight", "a.bias"]
    assert run.frame("samples")["layer"].tolist() == ["relu"]
    assert list(run.frame("events").columns) == ["step", "kind", "layer", "message"]


def test_can_be_read_while_it_is_written(tmp_path):
    writer = store.Writer(tmp_path, SUBJECT, pytest.fail)
    for number in range(50):
        writer.step(step(number))
    writer.flush()
    assert reader.load(tmp_path).status == "running"
    assert len(reader.load(tmp_path).steps["step"]) == 50
    writer.close("finished")


def test_old_detail_is_thinned(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_KEPT", 64)

    def work(writer):
        for number in range(1000):
            writer.detail(detail(number * 10))

    run, _ = write(tmp_path, work)
    kept = sorted(set(run.details["step"].tolist()))
    assert 32 <= len(kept) <= 66
    assert set(np.diff(kept)) == {kept[1] - kept[0]}, "evenly spread over the whole run"
    assert kept[-1] > 9000


def test_a_long_run_stays_small(tmp_path):
    """100,000 steps with 300 tensors, 10,000 of them observed: below 300 MB. Here a fiftieth of each bound."""
    tensors = tuple(Tensor(f"{i}", f"{i}", (2,), 2.0) for i in range(300))
    subject = Subject("", "", "", "torch", "torch", (), tensors)
    writer = store.Writer(tmp_path, subject, pytest.fail)
    rows = np.random.default_rng(0).random((300, 5))
    for number in range(4096 // 50):
        writer.detail(Detail(number, rows, np.zeros((0, 3))))
    for number in range(100_000 // 50):
        writer.step(step(number))
    writer.close("finished")
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size < 300e6 / 50


def test_a_full_disk_is_told_once_and_nothing_raises(tmp_path, monkeypatch):
    original = store._connect

    def small(path):
        connection = original(path)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    monkeypatch.setattr(store, "_connect", small)
    told = []
    writer = store.Writer(tmp_path, SUBJECT, told.append)
    for number in range(20_000):
        writer.step(step(number))
    writer.flush(timeout=5)
    for number in range(20_000, 20_100):
        writer.step(step(number))
    writer.close("finished")
    assert len(told) == 1
    assert "full" in told[0]
    assert "the training goes on" in told[0]
    assert len(reader.load(tmp_path).steps["step"]) >= 0, "what was written can be read"


def test_any_error_of_the_thread_ends_the_writing_and_nothing_else(tmp_path):
    errors = []
    writer = store.Writer(tmp_path, SUBJECT, errors.append)
    writer.step(step(2**70))  # an OverflowError: no integer of SQLite's
    before = time.monotonic()
    writer.flush(timeout=60)
    assert time.monotonic() - before < 30
    assert writer.failed
    for number in range(1000):
        writer.step(step(number))
    assert not writer._given
    before = time.monotonic()
    writer.flush(timeout=60)
    writer.close("finished")
    assert time.monotonic() - before < 30
    (message,) = errors
    assert "OverflowError" in message
    assert "the training goes on" in message


def test_a_folder_that_cannot_be_written(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    watching = Watching(Settings(folder=blocked / "runs"), SUBJECT)
    watching.step(step(0), np.ones(2))
    watching.end("finished")
    assert "cannot be written" in caplog.text
    assert watching.path is not None
    assert len(reader.load(watching.path).steps["step"]) == 1


def test_a_path_that_is_no_folder(tmp_path, caplog):
    blocked = tmp_path / "runs"
    blocked.write_text("")
    watching = Watching(Settings(folder=blocked), SUBJECT)
    watching.step(step(0), np.ones(2))
    watching.end("finished")
    assert f"{blocked} cannot be written ([Errno 20] Not a directory" in caplog.text
    assert len(reader.load(watching.path).steps["step"]) == 1
    assert not watching.off


def test_two_trainings_into_one_folder(tmp_path):
    paths = []

    def one():
        watching = Watching(Settings(folder=tmp_path, name="same"), SUBJECT)
        for number in range(20):
            watching.step(step(number), np.ones(2))
        watching.end("finished")
        paths.append(watching.path)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 8
    assert [len(reader.load(path).steps["step"]) for path in paths] == [20] * 8


WRITER = """
import sys, time
from pathlib import Path
from evengrad.values.run import Step
from tests.recording.test_store import SUBJECT, store
import os
folders = [Path(p) for p in sys.argv[1:]]
children = []
for folder in folders:
    if os.fork() == 0:
        writer = store.Writer(folder, SUBJECT, print)
        number = 0
        (folder / "pid").write_text(str(os.getpid()))
        while True:
            writer.step(Step(number, time.time(), 1.0, 0.1, 1.0, 1.0))
            number += 1
            time.sleep(0.01)
time.sleep(60)
"""


def test_killed_at_any_moment_it_loses_less_than_a_second(tmp_path):
    """Kill -9, 50 times: each file opens, and has all but the last second."""
    folders = [tmp_path / str(number) for number in range(50)]
    for folder in folders:
        folder.mkdir()
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", WRITER, *map(str, folders)], cwd=root) as parent:
        deadline = time.monotonic() + 200
        while not all((f / "pid").exists() and (f / "pid").read_text() for f in folders):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        killed = {}
        generator = random.Random(0)
        for folder in generator.sample(folders, len(folders)):
            time.sleep(generator.uniform(0, 0.08))
            os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
            killed[folder] = time.time()
        parent.kill()
    for folder in folders:
        run = reader.load(folder)
        assert run.status == "running"
        steps = run.steps["step"]
        assert steps.tolist() == list(range(len(steps))), "no hole"
        first = (folder / "pid").stat().st_mtime
        last = run.steps["time"][-1] if len(steps) else first
        assert killed[folder] - last < 1.0


@pytest.mark.parametrize("what", ["missing", "empty folder", "text", "other database"])
def test_what_is_no_run_says_so(what, tmp_path):
    path = tmp_path / "run.sqlite"
    if what == "text":
        path.write_text("hello, this is not a database, but it is long enough to be one" * 20)
    elif what == "other database":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE about (name TEXT, value TEXT)")
    elif what == "empty folder":
        path = tmp_path
    with pytest.raises(EvengradError, match=r"There is no run|not a run"):
        reader.load(path)
