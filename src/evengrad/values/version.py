"""The version of evengrad."""

__version__ = "0.1.0"
