"""Keras reads its backend from the environment at import: its tests run only where one is named."""

import os

collect_ignore_glob = [] if os.environ.get("KERAS_BACKEND") else ["**/test_keras_*.py"]
