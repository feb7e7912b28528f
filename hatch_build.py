"""Puts the charts' JavaScript (Vega, Vega-Lite, vega-embed in one bundle) into the package when it is built.

So nobody who only uses evengrad installs vl-convert, 84 MB. ``python hatch_build.py`` does it by hand.
"""

from pathlib import Path
from typing import Any

import vl_convert

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # by hand, where nothing is built
    BuildHookInterface = object

BUNDLE = Path(__file__).parent / "src" / "evengrad" / "report" / "vega.js"


def make() -> None:
    """Write the bundle, unless it is there."""
    if not BUNDLE.exists():
        BUNDLE.write_text(vl_convert.javascript_bundle(), encoding="utf-8")


class VegaHook(BuildHookInterface):  # type: ignore[misc,type-arg]
    """Runs before every wheel, an editable one too."""

    def initialize(self, _version: str, _build_data: dict[str, Any]) -> None:
        """Before the files are collected."""
        make()


if __name__ == "__main__":
    make()
