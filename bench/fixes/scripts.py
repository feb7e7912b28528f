"""The scripts of the corpus: ordinary code, as a user writes it."""

from __future__ import annotations

from bench.fixes.specs import Spec


def script(spec: Spec) -> str:
    """Its source. The last line that it prints is the mean loss of its last 25 steps."""
    from bench.fixes import keras_scripts, torch_scripts

    parts = torch_scripts if spec.framework == "torch" else keras_scripts
    return parts.render(spec)
