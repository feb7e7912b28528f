"""The user's own script, run unchanged as ``python train.py`` would, with adapters armed."""

from __future__ import annotations

import builtins
import importlib.util
import linecache
import os
import runpy
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import spawn
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn, Protocol

import wrapt

from evengrad.adapters import below_floor
from evengrad.adapters.common.importing import expect_imports
from evengrad.adapters.common.source import own_frame
from evengrad.errors import EvengradError, MissingFrameworkError, ScriptError
from evengrad.values.message import msg

_OURS = os.path.dirname(os.path.dirname(__file__))


EXTRAS = {
    "torch": "torch",
    "keras": "tensorflow",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "optax": "optax",
}


def missing_extra(error: BaseException) -> str | None:
    """The evengrad extra that would install what a script has imported in vain; None where none would."""
    name = getattr(error, "name", None) if isinstance(error, ImportError) else None
    return EXTRAS.get(name.partition(".")[0]) if name else None


_AROUND_JAX = (
    "optax",
    "equinox",
    "equinox.nn",
    "flax.linen",
    "flax.nnx",
    "flax.training.dynamic_scale",
)
"""What imports JAX itself, so that JAX is stepped into before these are there."""


class Arming(Protocol):
    """What steps into a script: ``arm`` once a framework is imported, ``close`` at the end."""

    open: bool

    def arm(self, framework: str) -> None: ...
    def fail(self, error: EvengradError) -> NoReturn: ...
    def close(self) -> None: ...


@contextmanager
def armed(session: Arming) -> Iterator[None]:
    """Arm each framework in the moment that the script imports it."""

    def keras(module: ModuleType) -> None:
        if str(getattr(module, "__version__", "3")).startswith("2."):
            _refuse_legacy(session, module)
        elif (old := below_floor(module)) is not None:
            _refuse(session, module.Model, "fit", old)
        else:
            session.arm("keras")

    def torch(module: ModuleType) -> None:
        if (old := below_floor(module)) is not None:
            _refuse(session, module.optim.Optimizer, "__init__", old)
        else:
            session.arm("torch")

    def jax(module: ModuleType) -> None:
        if below_floor(module) is None:
            session.arm("jax")

    expect_imports(_AROUND_JAX)
    wrapt.register_post_import_hook(keras, "keras")
    wrapt.register_post_import_hook(jax, "jax")
    wrapt.register_post_import_hook(torch, "torch")
    wrapt.register_post_import_hook(lambda module: _refuse_legacy(session, module), "tf_keras")
    try:
        yield
    finally:
        session.close()


def _refuse_legacy(session: Arming, module: Any) -> None:
    error = MissingFrameworkError(
        msg(
            "This script trains with Keras 2 ({kind}). evengrad reads Keras 3: "
            "pip install 'evengrad[tensorflow]', unset TF_USE_LEGACY_KERAS and `import keras`.",
            kind=module.__name__,
        )
    )
    _refuse(session, module.Model, "fit", error)


def _refuse(session: Arming, owner: Any, name: str, error: EvengradError) -> None:
    """End the script where it begins to train with what no adapter reads; it may import it all the same."""

    def refuse(*_: Any, **__: Any) -> None:
        session.fail(error)

    if session.open:
        setattr(owner, name, refuse)


def expect(target: str, module: bool) -> None:
    """Raise ScriptError where there is no such script or module, with the way out."""
    _expect_module(target) if module else _expect_script(target)


def _expect_module(target: str) -> None:
    try:
        found = importlib.util.find_spec(target)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ScriptError(
            msg(
                "There is no module {target!r} (looked in {getcwd} and sys.path).",
                target=target,
                getcwd=os.getcwd(),
            )
        )


def _expect_script(target: str) -> None:
    if not os.path.exists(target):
        raise ScriptError(
            msg(
                "There is no script {target!r} (looked in {getcwd}).",
                target=target,
                getcwd=os.getcwd(),
            )
        )
    if os.path.isdir(target):
        raise ScriptError(
            msg(
                "{target!r} is a folder; expected a Python script, such as train.py in it.",
                target=target,
            )
        )
    if target.endswith(".ipynb"):
        raise ScriptError(
            msg(
                "{target!r} is a notebook; expected a Python script. Convert it with `jupyter nbconvert "
                "--to script`, or call evengrad.check(...) in a cell.",
                target=target,
            )
        )
    try:
        with open(target, "rb") as file:
            compile(file.read(), target, "exec")
    except (SyntaxError, ValueError) as error:
        details = "".join(traceback.format_exception_only(error)).rstrip()
        raise ScriptError(
            msg(
                "{target!r} is not a Python script that this Python reads:\n{details}",
                target=target,
                details=details,
            )
        ) from None
    except OSError as error:
        raise ScriptError(
            msg("Cannot read {target!r}: {strerror}.", target=target, strerror=error.strerror)
        ) from None


@contextmanager
def warnings_of_the_script() -> Iterator[None]:
    """A framework's warning names the line that called it; where that is one of ours, the user's instead."""
    shown = warnings.showwarning

    def show(
        message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        frame = own_frame(sys._getframe(1)) if filename.startswith(_OURS) else None
        if frame is not None:
            filename, lineno, line = frame.f_code.co_filename, frame.f_lineno, None
        shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        if warnings.showwarning is show:
            warnings.showwarning = shown


@contextmanager
def as_main(target: str, arguments: Sequence[str], module: bool) -> Iterator[None]:
    """sys.argv and sys.path[0] as ``python target`` would set them."""
    argv, path = sys.argv, sys.path[0]
    sys.argv = [target, *arguments]
    sys.path[0] = os.getcwd() if module else os.path.dirname(os.path.abspath(target))
    try:
        with warnings_of_the_script():
            yield
    finally:
        sys.argv, sys.path[0] = argv, path


def execute(
    target: str, module: bool, source: str | None = None, function: str | None = None
) -> None:
    """Run it as ``python target`` would. source: instead of what the file has. function: the file is
    imported instead, under the name that a spawned process of multiprocessing gives it, and this is called.
    """
    if source is not None or function is not None:
        _execute_source(target, module, source, function)
    elif module:
        runpy.run_module(target, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(target, run_name="__main__")


def _execute_source(target: str, module: bool, source: str | None, function: str | None) -> None:
    spec = importlib.util.find_spec(target) if module else None
    file = target if spec is None else str(spec.origin)
    name = "__main__" if function is None else "__mp_main__"
    main = ModuleType(name)
    main.__dict__.update(__file__=file, __spec__=spec, __builtins__=builtins)
    main.__package__ = None if spec is None else spec.parent
    before, spelt = sys.modules.get(name), file
    sys.modules[name] = main
    try:
        code = Path(file).read_bytes() if source is None else source
        if source is not None:
            # Whoever asks for a line, as AutoGraph does, gets what runs. AutoGraph reads a module's file anew
            # where its name is that of the code: so the code has another spelling of it.
            lines = source.splitlines(keepends=True)
            spelt = os.path.join(os.path.dirname(os.path.abspath(file)), os.curdir, Path(file).name)
            linecache.cache[spelt] = (len(source), None, lines, spelt)
        with _in_spawned_processes(file, source):
            exec(compile(code, spelt, "exec"), main.__dict__)
            if function is not None:
                main.__dict__[function]()
    finally:
        if source is not None:
            linecache.cache.pop(spelt, None)
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


_STAND_IN = """\
__file__ = {file!r}
exec(compile({source!r}, __file__, "exec"), globals())
"""


@contextmanager
def _in_spawned_processes(file: str, source: str | None) -> Iterator[None]:
    """Processes that are spawned read the script's file anew: meanwhile they read one that has this."""
    if source is None:
        yield
        return
    prepared = spawn.get_preparation_data
    with tempfile.TemporaryDirectory(prefix="evengrad-", ignore_cleanup_errors=True) as folder:
        stand_in = Path(folder) / Path(file).name

        def prepare(name: str) -> dict[str, Any]:
            data = prepared(name)
            if Path(data.get("init_main_from_path", "")).name == stand_in.name:
                stand_in.write_text(_STAND_IN.format(file=os.path.abspath(file), source=source))
                data["init_main_from_path"] = str(stand_in)
            return data

        spawn.get_preparation_data = prepare
        try:
            yield
        finally:
            spawn.get_preparation_data = prepared


def own_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the script's first frame on: ours and runpy's before it taken off."""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(_OURS) and "runpy" not in name:
            return trace
        trace = trace.tb_next
    return None
