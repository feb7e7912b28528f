"""``python -m evengrad``."""

from evengrad.cli import app

app(prog_name="evengrad")
