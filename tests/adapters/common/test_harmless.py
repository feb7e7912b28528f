"""An error of what stands in a function's place ends nothing; whatever the function raises is its caller's."""

import sys
import threading

import pytest

from evengrad.adapters.common.harmless import harmless
from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.source import own_frames
from evengrad.errors import EvengradError, InternalError


def original(*values):
    calls.append(values)
    return sum(values)


def before(original):
    def function(*values):
        raise RuntimeError("ours")

    return function


def behind(original):
    def function(*values):
        original(*values, 1)
        raise RuntimeError("ours")

    return function


def by_another_way(original):
    """As an optimizer's apply is called through its instance."""

    def function(*values):
        if len(values) > 2:
            return original(*values)
        Place.add(*values, 1)
        raise RuntimeError("ours")

    return function


class Place:
    add = staticmethod(original)


calls: list = []


@pytest.fixture(autouse=True)
def empty():
    calls.clear()


@pytest.mark.parametrize(
    ("make", "first"), [(before, 3), (behind, 4), (by_another_way, 4)], ids=lambda v: str(v)[:20]
)
def test_the_function_is_called_once_whatever_of_ours_fails(make, first):
    told = []
    with Patches(told.append) as patches:
        patches.wrap(Place, "add", make)
        found = [Place.add(1, 2), Place.add(1, 2)]
    assert found == [first, 3]
    assert len(calls) == 2
    assert [str(error) for error in told] == ["ours"]


def test_without_anybody_to_tell_it_is_raised():
    with Patches() as patches:
        patches.wrap(Place, "add", before)
        with pytest.raises(RuntimeError, match="ours"):
            Place.add(1)


def test_what_the_function_raises_is_its_callers():
    def fails():
        raise ValueError("theirs")

    def careless(original):
        def function():
            try:
                original()
            except ValueError as error:
                raise KeyError("of ours, upon theirs") from error

        return function

    told = []
    for make in (_handing_on, careless):
        with pytest.raises((ValueError, KeyError), match="theirs"):
            harmless(fails, make, told.append)()
    assert told == []


def _handing_on(original):
    def function():
        return original()

    return function


@pytest.mark.parametrize(("kind", "raised"), [(EvengradError, True), (InternalError, False)])
def test_what_is_meant_for_the_user_reaches_him(kind, raised):
    def refusing(_):
        def function():
            raise kind("no")

        return function

    told = []
    function = harmless(lambda: 3, refusing, told.append)
    if raised:
        with pytest.raises(EvengradError, match="no"):
            function()
    else:
        assert function() == 3
    assert len(told) == (not raised)


def test_the_users_frames_end_where_the_thread_began():
    found = []
    thread = threading.Thread(target=lambda: found.extend(own_frames(sys._getframe())))
    thread.start()
    thread.join(10)
    assert [frame.f_code.co_filename for frame in found] == [__file__]
