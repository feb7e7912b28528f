"""Forecast against probe over a zoo of architectures: ``python -m bench.zoo --help``."""
