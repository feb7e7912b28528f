"""JSON: strict, complete, and it comes back as it went out."""

from __future__ import annotations

import json as stdlib_json
import math

import make
import numpy as np
import pytest

from evengrad.diagnosis.budget import budget
from evengrad.report import json
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.verbs.check import Check, check_probe


def _read(check: Check) -> dict:
    def refuse(word: str) -> None:
        raise AssertionError(f"not JSON: {word}")

    return stdlib_json.loads(json.dumps(check), parse_constant=refuse)


@pytest.mark.parametrize("seed", range(3))
def test_round_trip_keeps_every_figure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains = make.noisy(rng, int(rng.integers(2, 12)), 1.4, 0.71)
    check = check_probe(make.chain(gains))
    read = _read(check)
    assert read == json.to_dict(check)
    assert read["schema"] == 1
    assert read["budget"]["total"] == pytest.approx(sum(math.log(a * b) for a, b in gains))
    assert sum(read["budget"]["terms"].values()) == pytest.approx(budget(check.probe).total)
    assert sum(read["causes"].values()) == pytest.approx(read["budget"]["total"])
    written = {op["name"]: op["log_gain"] for op in read["probe"]["operations"]}
    assert written["hidden1"] == pytest.approx(math.log(gains[0][0]))
    assert [w["update_ratio"] for w in read["probe"]["weights"]] == pytest.approx(
        [0.01] * len(gains)
    )


def test_findings_in_the_words_of_the_design() -> None:
    echo = Finding("EG102", "echo", Cause.ACTIVATION, Severity.WARNING)
    finding = Finding(
        "EG301", "t", Cause.LEARNING_RATE, Severity.ERROR, ("a", "b"), ("e",), ("do",), (), (echo,)
    )
    check = Check(make.chain([(1.0, 1.0)]), (finding,))
    (read,) = _read(check)["findings"]
    assert (read["code"], read["cause"], read["severity"]) == ("EG301", "learning_rate", "error")
    assert (read["layers"], read["evidence"], read["advice"]) == (["a", "b"], ["e"], ["do"])
    assert [(e["code"], e["severity"]) for e in read["echoes"]] == [("EG102", "warning")]
    assert _read(check)["healthy"] is False


def test_non_finite_figures_become_words() -> None:
    read = _read(check_probe(make.residual(4, broken=2)))
    assert read["budget"]["total"] == "nan"
    assert read["probe"]["outputs"][0]["norm"] == "nan"
    gone = _read(Check(make.chain([(0.0, 1.0), (1.0, 1.0)], scales=[1.0, 1.0]), ()))
    assert gone["budget"]["total"] == "-inf"
    assert gone["healthy"] is True


def test_no_update_ratio_without_weights_or_update() -> None:
    probe = make.chain([(1.0, 1.0)] * 3, scales=[1.0, 0.0, 1.0], updates=[0.5, 0.5, None])
    read = _read(Check(probe, ()))
    assert [w["update_ratio"] for w in read["probe"]["weights"]] == [pytest.approx(0.5), None, None]
