"""Every change is made of plain values, and calls functions that take them."""

import importlib
import inspect
from dataclasses import fields
from unittest.mock import sentinel

import pytest

from evengrad.errors import CannotChangeError
from evengrad.fixing.changes import all_changes, from_json, to_json
from evengrad.fixing.changes.activation import Activation
from evengrad.fixing.changes.initialise import Initialise
from evengrad.fixing.changes.pretrained import Pretrained
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.patch import write
from evengrad.values.change import Change, calls, in_order


def function_behind(method):
    """What ``calls`` was given."""
    place = inspect.getclosurevars(method).nonlocals
    return getattr(importlib.import_module(place["module"]), place["function"])


@pytest.mark.parametrize("name", all_changes())
@pytest.mark.parametrize("method", ["live_torch", "write_torch", "write_keras"])
def test_what_a_change_calls_takes_its_fields(name, method):
    kind = all_changes()[name]
    own = vars(kind).get(method)
    if own is None or "given" not in inspect.signature(own).parameters:
        return  # it has none, or one that is written out, which the types check
    values = [sentinel.value for _ in fields(kind)]
    inspect.signature(function_behind(own)).bind(sentinel.given, *values)


def test_plain_values_there_and_back():
    changes = SetRate(0.1), Initialise(("a", "b"), "relu", 1.4), Pretrained("w.pt", 0.0)
    assert from_json(to_json(changes)) == changes


def test_each_has_a_place_of_its_own():
    stages = [kind.stage for kind in all_changes().values()]
    assert len(set(stages)) == len(stages)
    zeros = Initialise(("a",), "linear", 0.0, "zeros")
    drawn = Initialise(("a",), "relu", 1.4)
    given = SetRate(0.1), zeros, drawn, Activation("tanh", "relu")
    assert in_order(given) == (given[3], drawn, zeros, given[0])


def test_calls_gives_the_fields(monkeypatch):
    class Double(Pretrained):
        live_torch = calls("builtins:print")

    heard = []
    monkeypatch.setattr("builtins.print", lambda *given: heard.append(given))
    Double("w.pt", 0.5).live_torch("live")
    assert heard == [("live", "w.pt", 0.5)]


def test_a_change_without_methods_says_so():
    class Bare(Change):
        """Does nothing."""

        stage = 1

    for make in (Bare().live_torch, Bare().live_keras):
        with pytest.raises(CannotChangeError, match="Bare cannot be made in"):
            make(None)
    for frontend, word in (("torch", "PyTorch"), ("keras", "Keras")):
        patch = write("x = 1\n", [Bare()], frontend)
        assert patch.after == patch.before
        (message,) = patch.manual
        assert "Does nothing." in message
        assert word in message
