"""Two trainings in two threads: each is watched as if it were alone."""

import threading
from contextlib import suppress
from functools import partial

import numpy as np
import torch

import evengrad
from tests.adapters.torch.torch_trainings import OPTIMIZERS, build, everything, same, train

STEPS = 12
WATCHING = [{"every": 3}, {"every": 2, "clip": 0.5}]


def made(number):
    """The model of one; not in its thread, since all threads share torch's random numbers."""
    return build(("residual", "conv")[number], number)


def training(number, folder, model, meet=lambda: None, watched=True, corrupt=None):
    """One training; meet(): called before each step. What it left, and what was recorded."""
    optimizer = OPTIMIZERS["adamw"](model.parameters())
    watch = evengrad.watch(model, optimizer, folder=folder, **WATCHING[number]) if watched else None

    def before(_, x):
        meet()
        return x

    try:
        losses = train(model, optimizer, STEPS, seed=number, before=before, spoil=corrupt)
    except evengrad.GuardStopError as error:
        losses = str(error)
    if watch is None:
        return losses, everything(model, optimizer), None
    watch.remove()
    assert not watch.watching.off
    return losses, everything(model, optimizer), evengrad.load(watch.watching.path)


def side_by_side(folder, corrupt=None):
    """Both, in step with one another; corrupt(model, step): after the second one's backward pass."""
    together, found = threading.Barrier(2), {}

    def meet():
        with suppress(threading.BrokenBarrierError):  # the other one has stopped
            together.wait(timeout=30)

    def one(number, model):
        given = partial(corrupt, model) if corrupt is not None and number == 1 else None
        found[number] = training(number, folder / str(number), model, meet, corrupt=given)
        together.abort()

    threads = [threading.Thread(target=one, args=(number, made(number))) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert set(found) == {0, 1}
    return found


def test_each_records_its_own_steps(tmp_path):
    found = side_by_side(tmp_path)
    for number, (losses, left, run) in found.items():
        alone = training(number, tmp_path / f"alone {number}", made(number))
        assert losses == alone[0]
        assert same(left, alone[1])
        for name in ("norm", "clipped", "applied"):
            np.testing.assert_array_equal(run.steps[name], alone[2].steps[name])
        assert len(run.steps["step"]) == STEPS
        assert run.subject.tensors == alone[2].subject.tensors
        assert run.layers == alone[2].layers
        for table in ("details", "samples"):
            seen, expected = getattr(run, table), getattr(alone[2], table)
            assert len(seen["step"]) > 0
            for name in seen:
                np.testing.assert_array_equal(seen[name], expected[name])
    bare = training(0, tmp_path, made(0), watched=False)
    assert found[0][0] == bare[0]
    assert same(found[0][1], bare[1])


def test_one_that_its_guard_stops_leaves_the_other_watched(tmp_path):
    def corrupt(model, step):
        if step == 5:
            model.head.weight.grad.fill_(torch.nan)

    found = side_by_side(tmp_path, corrupt)
    assert "Step 5" in found[1][0]
    losses, left, run = found[0]
    alone = training(0, tmp_path / "alone", made(0))
    assert losses == alone[0]
    assert same(left, alone[1])
    np.testing.assert_array_equal(run.steps["norm"], alone[2].steps["norm"])


def test_a_thread_that_builds_tuples_is_not_disturbed_by_a_watch_that_begins():
    """To ask the garbage collector for all objects would give it a SystemError, most times."""
    stop, failed = threading.Event(), []

    def building():
        while not stop.is_set():
            try:
                tuple(i for i in range(1000))
            except SystemError as error:
                failed.append(error)

    threads = [threading.Thread(target=building) for _ in range(3)]
    for thread in threads:
        thread.start()
    model = made(0)
    for _ in range(20):
        optimizer = OPTIMIZERS["adamw"](model.parameters())
        evengrad.watch(model, optimizer, folder=None).remove()
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
