"""Run the user's own script, unchanged, up to its first training step, and take the probe there."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn, Protocol

import wrapt

from evengrad.adapters import Armed
from evengrad.errors import EvengradError, MissingFrameworkError, ScriptError
from evengrad.probe import Probe

_OURS = os.path.dirname(__file__)
EXTRAS = {"torch": "torch", "keras": "tensorflow", "tensorflow": "tensorflow", "jax": "jax"}


class ScriptFailedError(Exception):
    """The script raised before it trained. cause: its exception, with its own frames only."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause.with_traceback(own_frames(cause.__traceback__))

    @property
    def missing(self) -> str | None:
        """The evengrad extra that would install the framework that the script misses."""
        name = getattr(self.cause, "name", None)
        return EXTRAS.get(name) if isinstance(self.cause, ImportError) and name else None


class ScriptExitedError(Exception):
    """The script called sys.exit before it trained. code: what it passed."""

    def __init__(self, code: object) -> None:
        super().__init__(f"exit {code}")
        self.code = code


def probe_script(
    target: str,
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    precise: bool = False,
    starting: Callable[[], None] = lambda: None,
    function: str | None = None,
) -> Probe:
    """Run a script (or, with ``module``, a module by its dotted name) and probe its first step.

    The script sees what it would see under plain Python: ``__name__ == "__main__"``, its own
    ``sys.argv`` and ``sys.path[0]``, the same working folder. Nothing is trained: the script is stopped
    at its first step, and its ``finally`` blocks run. precise: the largest stable learning rate from the
    Hessian. starting: called when measuring begins. function: see ``execute``.

    Raises ScriptError (missing, not Python, never trains), CannotCheckError, MissingFrameworkError,
    ScriptFailedError and ScriptExitedError; KeyboardInterrupt passes through.
    """
    session = _Session(starting, precise)
    with as_main(target, arguments, module), armed(session):
        expect(target, module)
        try:
            execute(target, module, function=function)
            session.flush()
        except _Stopped as stopped:
            return stopped.result()
        except SystemExit as exit_:
            if session.result is None:
                raise ScriptExitedError(exit_.code) from None
        except Exception as error:
            if session.result is None:
                raise ScriptFailedError(error) from None
    if session.result is not None:
        return session.result.result()
    raise ScriptError(
        f"{target} ran to its end without a training step that evengrad can see. Expected Keras "
        "`model.fit(...)`, or `loss.backward()` and `optimizer.step()` in PyTorch. For another kind of "
        "loop call `evengrad.check(model, loss=..., batch=(x, y))` in the script."
    )


class _Stopped(BaseException):
    """Stops the script at its first step; a BaseException, so that no ``except Exception`` of the
    script's swallows it.
    """

    def __init__(self, probe: Probe | None, error: EvengradError | None) -> None:
        super().__init__("evengrad stopped the script at its first training step")
        self.probe = probe
        self.error = error

    def result(self) -> Probe:
        if self.error is not None:
            raise self.error
        assert self.probe is not None
        return self.probe


class Arming(Protocol):
    """What steps into a script: ``arm`` once a framework is imported, ``close`` at the end."""

    open: bool

    def arm(self, framework: str) -> None: ...
    def fail(self, error: EvengradError) -> NoReturn: ...
    def close(self) -> None: ...


class _Session:
    """One run of a script: arms the adapter of each framework that the script imports."""

    def __init__(self, starting: Callable[[], None], precise: bool) -> None:
        self._starting = starting
        self.precise = precise
        self.armed: dict[str, Armed] = {}
        self.open = True
        self.result: _Stopped | None = None

    def starting(self) -> None:
        self._starting()

    def deliver(self, probe: Probe) -> NoReturn:
        self._stop(_Stopped(probe, None))

    def fail(self, error: EvengradError) -> NoReturn:
        self._stop(_Stopped(None, error))

    def _stop(self, stopped: _Stopped) -> NoReturn:
        """Raise, and raise again should the script go on to train after a bare ``except:``."""
        self.result = self.result or stopped
        raise self.result

    def arm(self, framework: str) -> None:
        if self.open and framework not in self.armed:
            adapter = importlib.import_module(f"evengrad.adapters.{framework}.script")
            self.armed[framework] = adapter.arm(self)

    def flush(self) -> None:
        for armed in list(self.armed.values()):
            armed.flush()

    def close(self) -> None:
        self.open = False
        for armed in self.armed.values():
            armed.disarm()
        self.armed.clear()


@contextmanager
def armed(session: Arming) -> Iterator[None]:
    """Arm each framework in the moment that the script imports it."""

    def keras(module: ModuleType) -> None:
        if str(getattr(module, "__version__", "3")).startswith("2."):
            _refuse_legacy(session, module)
        else:
            session.arm("keras")

    wrapt.register_post_import_hook(keras, "keras")
    wrapt.register_post_import_hook(lambda _: session.arm("torch"), "torch")
    wrapt.register_post_import_hook(lambda module: _refuse_legacy(session, module), "tf_keras")
    try:
        yield
    finally:
        session.close()


def _refuse_legacy(session: Arming, module: Any) -> None:
    def fit(*_: Any, **__: Any) -> None:
        session.fail(
            MissingFrameworkError(
                f"This script trains with Keras 2 ({module.__name__}). evengrad reads Keras 3: "
                "pip install 'evengrad[tensorflow]', unset TF_USE_LEGACY_KERAS and `import keras`."
            )
        )

    if session.open:
        module.Model.fit = fit


def expect(target: str, module: bool) -> None:
    """Raise ScriptError where there is no such script or module, with the way out."""
    _expect_module(target) if module else _expect_script(target)


def _expect_module(target: str) -> None:
    try:
        found = importlib.util.find_spec(target)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ScriptError(f"There is no module {target!r} (looked in {os.getcwd()} and sys.path).")


def _expect_script(target: str) -> None:
    if not os.path.exists(target):
        raise ScriptError(f"There is no script {target!r} (looked in {os.getcwd()}).")
    if os.path.isdir(target):
        raise ScriptError(
            f"{target!r} is a folder; expected a Python script, such as train.py in it."
        )
    if target.endswith(".ipynb"):
        raise ScriptError(
            f"{target!r} is a notebook; expected a Python script. Convert it with `jupyter nbconvert "
            "--to script`, or call evengrad.check(...) in a cell."
        )
    try:
        with open(target, "rb") as file:
            compile(file.read(), target, "exec")
    except (SyntaxError, ValueError) as error:
        details = "".join(traceback.format_exception_only(error)).rstrip()
        raise ScriptError(
            f"{target!r} is not a Python script that this Python reads:\n{details}"
        ) from None
    except OSError as error:
        raise ScriptError(f"Cannot read {target!r}: {error.strerror}.") from None


@contextmanager
def as_main(target: str, arguments: Sequence[str], module: bool) -> Iterator[None]:
    """sys.argv and sys.path[0] as ``python target`` would set them."""
    argv, path = sys.argv, sys.path[0]
    sys.argv = [target, *arguments]
    sys.path[0] = os.getcwd() if module else os.path.dirname(os.path.abspath(target))
    try:
        yield
    finally:
        sys.argv, sys.path[0] = argv, path


def execute(
    target: str, module: bool, source: str | None = None, function: str | None = None
) -> None:
    """Run it as ``python target`` would. source: in the place of what the file has. function: the file is
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
    before = sys.modules.get(name)
    sys.modules[name] = main
    try:
        code = Path(file).read_bytes() if source is None else source
        exec(compile(code, file, "exec"), main.__dict__)
        if function is not None:
            main.__dict__[function]()
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


def own_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the script's first frame on: ours and runpy's before it taken off."""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(_OURS) and "runpy" not in name:
            return trace
        trace = trace.tb_next
    return None
