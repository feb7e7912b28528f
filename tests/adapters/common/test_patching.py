"""Patches come off, whoever else has patched the same, and in whatever order."""

from __future__ import annotations

import itertools
import threading

import pytest

from evengrad.adapters.common.patching import Patches


class Base:
    def fit(self, n=1):
        """Of the base."""
        return [f"fit {n}"]


def saying(word):
    return lambda original: lambda self, *a, **k: [word, *original(self, *a, **k)]


def model():
    class Model(Base):
        pass

    return Model


@pytest.mark.parametrize("inherited", [True, False])
def test_what_was_there_comes_back_and_nothing_of_ours_stays(inherited):
    kind = model() if inherited else type("Own", (Base,), {"fit": lambda self, n=1: ["own"]})
    before = dict(vars(kind))
    with Patches() as patches:
        patches.wrap(kind, "fit", saying("ours"))
        patches.put(kind, "train_step", 3)
        assert kind().fit(n=2)[0] == "ours"
        assert kind.fit.__doc__ == before.get("fit", Base.fit).__doc__
    assert dict(vars(kind)) == before
    patches.undo()
    assert dict(vars(kind)) == before


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_watches_come_off_in_any_order(order):
    kind, stacks = model(), [Patches() for _ in range(3)]
    for number, stack in enumerate(stacks):
        stack.wrap(kind, "fit", saying(str(number)))
    left = {0, 1, 2}
    for number in order:
        stacks[number].undo()
        left.remove(number)
        assert kind().fit() == [*(str(n) for n in sorted(left, reverse=True)), "fit 1"]
    assert "fit" not in vars(kind)


def test_another_tools_wrapper_above_ours_stays():
    kind, patches = model(), Patches()
    patches.wrap(kind, "fit", saying("ours"))
    theirs = saying("theirs")(kind.fit)
    kind.fit = theirs
    patches.undo()
    assert kind.fit is theirs
    assert kind().fit() == ["theirs", "fit 1"]


def test_another_tools_wrapper_below_ours_stays():
    kind, patches = model(), Patches()
    theirs = saying("theirs")(kind.fit)
    kind.fit = theirs
    patches.wrap(kind, "fit", saying("ours"))
    assert kind().fit() == ["ours", "theirs", "fit 1"]
    patches.undo()
    assert kind.fit is theirs


def test_an_attribute_that_another_tool_changed_since_stays_its():
    kind, patches = model(), Patches()
    patches.put(kind, "train_step", "ours")
    kind.train_step = "theirs"
    patches.undo()
    assert kind.train_step == "theirs"


def test_one_that_cannot_be_taken_off_keeps_no_other_on(caplog):
    kind, patches = model(), Patches()
    patches.wrap(kind, "fit", saying("ours"))
    patches.on_undo(lambda: 1 / 0)
    patches.undo()
    assert "fit" not in vars(kind)
    assert "could not take one of its patches off" in caplog.text


def test_threads_that_patch_at_once_leave_nothing():
    kind, start = model(), threading.Barrier(8)

    def watch(word):
        start.wait()
        for _ in range(200):
            with Patches() as patches:
                patches.wrap(kind, "fit", saying(word))
                assert kind().fit()[-1] == "fit 1"

    threads = [threading.Thread(target=watch, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "fit" not in vars(kind)


def test_a_name_that_is_not_there_is_said():
    with pytest.raises(AttributeError, match="nothing"):
        Patches().wrap(Base, "nothing", saying("ours"))
