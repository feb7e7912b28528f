"""Training in processes that the script starts: checked and watched as the script itself would be."""

import socket

import pytest

from evengrad.recording.guard import GuardStopError
from evengrad.recording.reader import load
from evengrad.recording.settings import Settings
from evengrad.verbs.check_script import probe_script
from evengrad.verbs.run_script import run_script

TRAIN = """
import os, sys, torch
import torch.multiprocessing as mp
from torch import nn

def train(rank, rate=0.1, bad=None, steps=4):
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    if "MASTER_PORT" in os.environ:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
        net = nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    for step in range(steps):
        x = torch.randn(16, 6)
        if step == bad and rank == 0:
            x[0] = float("nan")
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), torch.arange(16) % 3).backward()
        optimizer.step()
    open(f"ended-{rank}", "w").close()
"""
SPAWN = TRAIN + 'if __name__ == "__main__":\n    mp.spawn(train, args=(ARGS), nprocs=2)\n'
FORK = (
    TRAIN
    + """
if __name__ == "__main__":
    import multiprocessing
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=train, args=(rank,)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""
)
LOADER = (
    TRAIN
    + """
def together(rows):
    return torch.stack(rows)

if __name__ == "__main__":
    for batch in torch.utils.data.DataLoader(torch.ones(8, 2), 4, collate_fn=together, num_workers=2):
        pass
    train(0)
"""
)


def spawned(arguments):
    return SPAWN.replace("ARGS", arguments)


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "train.py").write_text(text)
        return str(tmp_path / "train.py")

    return write


def watched(script, folder):
    return run_script(script, settings=Settings(folder=folder / "runs"))


@pytest.mark.parametrize("text", [spawned("0.1,"), FORK], ids=["spawn", "fork"])
def test_the_first_one_is_checked(text, script, tmp_path):
    probe = probe_script(script(text))
    assert [weight.name for weight in probe.weights] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert probe.rate is not None
    assert probe.spec is not None
    assert not (tmp_path / "ended-0").exists()


@pytest.mark.parametrize("text", [spawned("0.1,"), FORK], ids=["spawn", "fork"])
def test_every_one_is_watched_and_the_first_one_recorded(text, script, tmp_path):
    outcome = watched(script(text), tmp_path)
    assert outcome.error is None
    assert outcome.watched == 2
    (path,) = outcome.runs
    run = load(path)
    assert run.status == "finished"
    assert len(run.steps["step"]) == 4
    assert (tmp_path / "ended-0").exists()
    assert (tmp_path / "ended-1").exists()


def test_one_with_a_bad_step_is_stopped_and_so_is_the_script(script, tmp_path):
    outcome = watched(script(spawned("0.1, 2")), tmp_path)
    assert isinstance(outcome.stopped, GuardStopError)
    assert outcome.error is None
    run = load(outcome.runs[0])
    assert run.status == "stopped"
    assert run.failure.step == 2
    assert not (tmp_path / "ended-0").exists()


def test_data_parallel_training_is_checked_and_watched(script, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    name = script(spawned("0.1,"))
    probe = probe_script(name)
    assert probe.rate is not None
    outcome = watched(name, tmp_path)
    assert outcome.error is None
    assert len(load(outcome.runs[0]).steps["step"]) == 4


def test_workers_that_load_data_are_none(script, tmp_path):
    outcome = watched(script(LOADER), tmp_path)
    assert outcome.error is None
    assert outcome.watched == 1


def test_what_a_process_raises_is_the_script_s_own_error(script, tmp_path):
    outcome = watched(script(spawned('"fast",')), tmp_path)
    assert "not supported between" in str(outcome.error)
