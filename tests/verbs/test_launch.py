"""Processes that are started by a command line: torchrun, and a script that starts others."""

import os
import signal
import subprocess
import sys

import pytest

from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.verbs.check_script import probe_script
from evengrad.verbs.launch import PythonCommand, python_command, trains, typed
from evengrad.verbs.run_script import run_script

RANKS = """
import os, sys, torch
import torch.distributed as dist
from torch import nn
torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
net = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
torch.manual_seed(rank)
for step in range(6):
    x = torch.randn(16, 6)
    if rank == 1 and step == 2 and "bad" in sys.argv:
        x[0] = float("nan")
    if rank == 1 and step == 4 and "dies" in sys.argv:
        os.kill(os.getpid(), 9)
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), torch.arange(16) % 3).backward()
    optimizer.step()
torch.save([p.detach() for p in net.parameters()], f"rank-{rank}.pt")
dist.destroy_process_group()
"""
ONE = """
import sys, torch
net = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=float(sys.argv[1]))
for step in range(3):
    optimizer.zero_grad()
    net(torch.ones(4, 3)).square().mean().backward()
    optimizer.step()
print("trained with", sys.argv[1:], __name__)
"""
STARTS = """
import subprocess, sys
for rate in "0.01", "0.02":
    subprocess.run([sys.executable, "-u", "one.py", rate], check=True)
print(subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout)
"""
TORCHRUN = ("--standalone", "--nproc-per-node", "2", "ranks.py")


@pytest.fixture(autouse=True)
def own_signals():
    """A launcher that fails leaves its own handlers behind."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, text in (("ranks", RANKS), ("one", ONE), ("starts", STARTS)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def watched(folder, target, *arguments, **settings):
    return run_script(target, arguments, settings=Settings(folder=folder / "runs", **settings))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["-u", "a.py", "--x"], PythonCommand((sys.executable, "-u"), "a.py", ("--x",))),
        (["-W", "error", "a.py"], PythonCommand((sys.executable, "-W", "error"), "a.py", ())),
        (["-m", "a.b", "1"], PythonCommand((sys.executable,), "a.b", ("1",), module=True)),
        (["-c", "pass"], None),
        (["-"], None),
        ([], None),
    ],
)
def test_what_a_command_line_runs(line, expected):
    assert python_command([sys.executable, *line]) == expected


def test_other_commands_are_let_be(folder):
    assert python_command(["ls", "-l"]) is None
    assert python_command([b"ls"]) is None
    assert not trains(PythonCommand((), "missing.py", ()), None)
    assert not trains(PythonCommand((), "pip", (), module=True), None)
    assert not trains(PythonCommand((), subprocess.__file__, ()), None)
    assert trains(PythonCommand((), "one.py", ()), str(folder))


def test_what_stands_behind_a_command():
    assert typed("one.py", ["--x"], False) == ("one.py", ["--x"], False)
    assert typed(sys.executable, ["one.py", "1"], False)[0] == sys.executable  # it exists
    assert typed(os.path.basename(sys.executable), ["one.py", "1"], False) in (
        ("one.py", ("1",), False),
        (os.path.basename(sys.executable), ["one.py", "1"], False),  # another Python of the path
    )
    target, arguments, module = typed("torchrun", ["ranks.py"], False)
    assert os.path.isfile(target)
    assert (arguments, module) == (("ranks.py",), False)


def test_every_rank_is_watched_and_the_first_one_recorded(folder):
    outcome = watched(folder, "torchrun", *TORCHRUN)
    assert outcome.error is None
    assert outcome.watched == 2
    run = load(*outcome.runs)
    assert run.status == "finished"
    assert len(run.steps["step"]) == 6
    assert (folder / "rank-0.pt").exists()
    assert (folder / "rank-1.pt").exists()


def test_one_bad_batch_stops_all_and_its_rank_is_named(folder):
    outcome = watched(folder, "torchrun", *TORCHRUN, "bad")
    assert outcome.stopped is not None
    assert outcome.error is None
    run = load(*outcome.runs)
    assert run.status == "stopped"
    assert run.failure.step == 2
    assert [e.values["ranks"] for e in run.events if "ranks" in e.values] == [[1]]
    assert not (folder / "rank-0.pt").exists()


def test_a_rank_that_dies_is_named_and_the_run_is_whole(folder, caplog):
    outcome = watched(folder, "torchrun", *TORCHRUN, "dies")
    assert outcome.error is not None
    run = load(*outcome.runs)
    assert run.status == "failed"
    assert len(run.steps["step"]) <= 4  # what was not written in the last second is gone
    assert "rank 1 was ended by SIGKILL" in run.events[-1].message
    assert "rank 1 was ended by SIGKILL" in caplog.text


def test_the_first_rank_is_checked(folder):
    probe = probe_script("torchrun", TORCHRUN)
    assert probe.rate is not None
    assert not list(folder.glob("rank-*.pt"))


def test_each_training_that_a_script_starts_is_recorded(folder, capfd):
    outcome = watched(folder, "starts.py")
    assert outcome.error is None
    assert [len(load(path).steps["step"]) for path in outcome.runs] == [3, 3]
    assert load(outcome.runs[1]).steps["rate"][0] == pytest.approx(0.02)
    said = capfd.readouterr().out
    assert "trained with ['0.02'] __main__" in said
    assert "42" in said


def test_a_process_whose_watch_fails_goes_its_way(folder, capfd, monkeypatch):
    monkeypatch.setattr("evengrad.verbs.follow.pickle.dumps", lambda _: b"broken")
    outcome = watched(folder, "starts.py")
    assert outcome.error is None
    assert not outcome.runs
    assert capfd.readouterr().out.count("trained with") == 2


def test_the_error_of_a_script_is_its_own(folder):
    (folder / "one.py").write_text("raise ValueError('mine')\n")
    outcome = watched(folder, "starts.py")
    assert isinstance(outcome.error, subprocess.CalledProcessError)
    assert outcome.error.returncode == 1
