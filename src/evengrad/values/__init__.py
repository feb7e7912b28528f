"""Frozen values that pass between the rooms: nouns without arithmetic and without a framework."""
