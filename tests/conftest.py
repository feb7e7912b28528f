"""Keras reads its backend from the environment at import: its tests run only where one is named."""

import os
import runpy
from pathlib import Path

collect_ignore_glob = [] if os.environ.get("KERAS_BACKEND") else ["**/test_keras_*.py"]

_ROOT = Path(__file__).parents[1]
if not (_ROOT / "src/evengrad/report/vega.js").exists():  # in a checkout that was never installed
    runpy.run_path(str(_ROOT / "hatch_build.py"), run_name="__main__")
