"""Trainings in several processes against the same training in one, in float64."""
