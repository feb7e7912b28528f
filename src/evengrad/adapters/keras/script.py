"""Steps into the user's own script at its first ``Model.fit`` or ``train_on_batch``."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from evengrad.adapters.common.patching import Patches
from evengrad.adapters.common.sessions import Armed, Session
from evengrad.adapters.common.source import where
from evengrad.adapters.keras import compat
from evengrad.adapters.keras.backend.state import untouched
from evengrad.adapters.keras.facts.batch import facts_of, with_facts
from evengrad.adapters.keras.facts.flat import flat
from evengrad.adapters.keras.facts.smothered import of_probe
from evengrad.adapters.keras.facts.unheld import unheld
from evengrad.adapters.keras.intercept import Handler, called_back, intercept
from evengrad.adapters.keras.measure.spoiled import coming_fact
from evengrad.adapters.keras.probe import probe
from evengrad.adapters.keras.tap import native
from evengrad.adapters.keras.tap.classes import class_facts
from evengrad.adapters.keras.tap.first_step import FirstSteps
from evengrad.adapters.keras.tap.idle import idle, idle_probe
from evengrad.adapters.keras.tap.inputs import FitInputs
from evengrad.adapters.keras.tap.retrace import retrace
from evengrad.adapters.keras.tap.turns import FitTurns
from evengrad.errors import CannotCheckError, EvengradError
from evengrad.values.fact import Fact
from evengrad.values.message import msg
from evengrad.values.probe import Probe
from evengrad.values.summary import Summary

log = logging.getLogger("evengrad")


def arm(session: Session) -> Armed:
    """Wrap ``keras.Model.fit`` and ``train_on_batch``; each model's first batch is probed there."""
    compat.number_anew()
    patches = Patches()
    first = FirstSteps(session, patches)
    turns = FitTurns(session, patches)
    intercept(
        patches,
        {
            "fit": _measuring(session, first, turns, "fit", _fit_batch),
            "train_on_batch": _measuring(session, first, turns, "train_on_batch", _single_batch),
        },
    )
    return Armed(disarm=patches.undo, flush=first.flush)


def _measuring(
    session: Session,
    first: FirstSteps,
    turns: FitTurns,
    name: str,
    first_batch: Callable[[dict[str, Any]], Any],
) -> Handler:
    def around(model: Any, given: dict[str, Any], go_on: Callable[[], Any]) -> Any:
        if not _steps_itself(model):
            if turns.begins(model):
                found = measure(model, given)
                if not turns.goes_on():
                    session.deliver(turns.named(model, found))
                turns.keep(model, found)
            with first.resting(), _passing(session, model, given):
                return go_on()
        compat.step_eagerly(model)
        try:
            return go_on()
        except ValueError as error:
            if type(model).train_step is not keras.Model.train_step or first.probes:
                raise
            return session.fail(
                CannotCheckError(
                    msg(
                        "Expected a loss: call model.compile(optimizer=..., loss=...) before "
                        "model.{name}(), or "
                        "let a layer add_loss(). Keras says: {error}",
                        name=name,
                        error=error,
                    )
                )
            )

    def measure(model: Any, given: dict[str, Any]) -> Probe:
        session.starting()
        try:
            if not model.compiled:
                raise CannotCheckError(
                    msg(
                        "Expected a compiled model: call model.compile(optimizer=..., loss=...) before "
                        "model.{name}().",
                        name=name,
                    )
                )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                batch = _read(first_batch, given)
            with native.compiled():
                if (nothing := idle(model)) is not None:
                    return idle_probe(model, nothing, batch)
                found = probe(model, batch=batch, rate=True, precise=session.precise)
                loose = unheld(model)
                more = [] if loose is None else [loose]
                more += [*facts_of(model, batch), *_cuts(model, batch, found, first)]
                spoiled = coming_fact(
                    model.optimizer, model.trainable_variables, found.weights, where()
                )
                more += [] if spoiled is None else [spoiled]
                more += first.mistakes.untracked.of(model, model.optimizer)
                more += of_probe(model.optimizer, found.weights, where())
                if name == "fit":
                    more += class_facts(model, given, where())
                    more += FitInputs().trained(model, given, where())
                return with_facts(found, tuple(more))
        except EvengradError as error:
            session.fail(error)
        except Exception as error:
            theirs = _own_error(model, batch)
            if theirs is None:
                session.trouble(error)
            session.fail(
                CannotCheckError(
                    msg(
                        "{kind} could not be measured, since it cannot be called on its first "
                        "batch: {error_kind}: {theirs}",
                        kind=type(model).__name__,
                        error_kind=type(theirs).__name__,
                        theirs=theirs,
                    )
                )
            )

    return around


@contextmanager
def _passing(session: Session, model: Any, given: dict[str, Any]) -> Iterator[None]:
    """While a training goes on that is not, or no more, to be measured."""
    session.passing()
    if "callbacks" not in given:
        yield
        return
    with called_back(given, model, _Passing(session)):
        yield


class _Passing(keras.callbacks.Callback):
    """Stops the script in a training, where enough was seen."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """A step is over."""
        self._session.passing()


def _cuts(model: Any, batch: Any, found: Probe, first: FirstSteps) -> tuple[Fact, ...]:
    """Where the way to weights without a gradient ends."""
    if found.weights and all(w.gradient is None or _is_nothing(w.gradient) for w in found.weights):
        try:
            step = flat(model, batch, all(w.gradient is None for w in found.weights))
        except Exception as error:  # a loss that cannot be computed again
            log.info("the loss was not heard: %s", error)
            step = None
        if step is not None:
            return (step,)
    if all(w.gradient is not None for w in found.weights):
        return ()
    try:
        retrace(model, batch, first.listening)
    except Exception as error:  # what cannot be traced is not known
        log.info("the step was not traced: %s", error)
        return ()
    return first.told()


def _is_nothing(gradient: Summary) -> bool:
    return gradient.max == 0 and not gradient.non_finite


def _steps_itself(model: Any) -> bool:
    """Whether only its own training step knows what is minimised: a ``train_step`` of the user's, or losses
    that layers add alone.
    """
    if type(model).train_step is not keras.Model.train_step:
        return True
    known = compat.compiled_loss(model) is not None
    return (
        bool(model.compiled) and not known and type(model).compute_loss is keras.Model.compute_loss
    )


def _own_error(model: Any, batch: Any) -> Exception | None:
    """What the script's own forward pass and loss raise on that batch; None where the fault is ours."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(tuple(batch))
    try:
        with untouched(model), keras.StatelessScope():
            compat.compute_loss(model, x, y, model(x, training=True), weight)
    except Exception as error:
        return error
    return None


def _read(first_batch: Callable[[dict[str, Any]], Any], given: dict[str, Any]) -> Any:
    """The first batch; what Keras says against the data is the user's mistake."""
    try:
        return first_batch(given)
    except EvengradError:
        raise
    except Exception as error:
        raise CannotCheckError(
            msg(
                "The first batch cannot be read: {kind}: {error}",
                kind=type(error).__name__,
                error=error,
            )
        ) from error


def _fit_batch(given: dict[str, Any]) -> Any:
    """The batch that ``fit`` would train on first; a generator has it still."""
    if isinstance(given["x"], Iterator):
        read, left = itertools.tee(given["x"])
        given["x"] = (one for one in left)
        given = {**given, "x": (one for one in read)}
    for batch, _ in compat.fit_batches(given):
        return batch
    raise CannotCheckError(msg("The training data is empty: fit() got no batch out of it."))


def _single_batch(given: dict[str, Any]) -> Any:
    x, y, weight = given["x"], given["y"], given["sample_weight"]
    if given.get("class_weight") is not None:
        weight = compat.class_weights(y, given["class_weight"])
    return x, y, weight
