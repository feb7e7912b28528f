"""The tap inside the compiled training step."""
