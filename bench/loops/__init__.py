"""Every loop that people write, under check, run and fix: ``python -m bench.loops --write``."""
