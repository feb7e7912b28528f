"""The tables of a run file."""

from __future__ import annotations

from evengrad.values.run import LAYER_FIGURES, TENSOR_FIGURES

NAME = "run.sqlite"


_STEP = ("step", "time", "loss", "rate", "norm", "clipped", "coefficient", "non_finite", "applied")


_SCHEMA = f"""
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE tensors (tensor INTEGER PRIMARY KEY, name TEXT, layer TEXT, shape TEXT, fan_in REAL);
CREATE TABLE layers (layer INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE steps (step INTEGER PRIMARY KEY, {", ".join(f"{c} REAL" for c in _STEP[1:])});
CREATE TABLE details (step INTEGER, tensor INTEGER, {", ".join(f"{c} REAL" for c in TENSOR_FIGURES)},
  PRIMARY KEY (step, tensor)) WITHOUT ROWID;
CREATE TABLE samples (step INTEGER, layer INTEGER, {", ".join(f"{c} REAL" for c in LAYER_FIGURES)},
  PRIMARY KEY (step, layer)) WITHOUT ROWID;
CREATE TABLE recent (step INTEGER, tensor INTEGER, gradient_rms REAL,
  PRIMARY KEY (step, tensor)) WITHOUT ROWID;
CREATE TABLE events (event INTEGER PRIMARY KEY, step INTEGER, kind TEXT, layer TEXT, message TEXT,
  "values" TEXT);
"""
