"""Keras reads its backend from the environment at import: its tests run only where one is named."""

import gc
import os
import runpy
import sys
from pathlib import Path

import pytest

os.environ["EVENGRAD_LANG"] = "en"  # whatever the locale; what a test starts speaks it, too

collect_ignore_glob = [] if os.environ.get("KERAS_BACKEND") else ["**/test_keras_*.py"]

_ROOT = Path(__file__).parents[1]
if not (_ROOT / "src/evengrad/report/vega.js").exists():  # in a checkout that was never installed
    runpy.run_path(str(_ROOT / "hatch_build.py"), run_name="__main__")


@pytest.fixture(autouse=True)
def nothing_was_compiled():
    """A test that compiles leaves a process in which activations are heard: no test depends on those before."""
    yield
    frames = sys.modules.get("torch._dynamo.convert_frame")
    if frames is not None:
        frames.FRAME_COUNTER = 0
        sys.modules["torch._dynamo.eval_frame"].cached_backends.clear()


@pytest.fixture(autouse=True, scope="module")
def nothing_old_is_looked_at():
    """Frameworks, and what files before this one leave, are a million objects: the collector, and whoever asks
    it who holds a module, need not go through them again.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_lives_on():
    """What a test leaves in cycles is freed with it: TensorFlow waits for each iterator over data as long
    as it has lived, up to a minute. What is alive then is never looked at again: it is a million objects.
    """
    yield
    if "tensorflow" in sys.modules:
        gc.collect()
        gc.freeze()
