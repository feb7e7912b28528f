"""Numbers as a script writes them."""

from __future__ import annotations


def number(value: float) -> str:
    """A float to three significant digits: ``0.001``, ``1e-05``, ``2.0``."""
    return repr(float(f"{value:.3g}"))
