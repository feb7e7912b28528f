"""A black box comes back as it was, and needs no unpickling."""

import os
import pickle

import numpy as np
import pytest
from typer.testing import CliRunner

from evengrad.cli import app
from evengrad.errors import EvengradError
from evengrad.recording import blackbox
from evengrad.recording.blackbox import BlackBox, Origin, ReplayedOperation
from evengrad.report import run_html


def box(step=7):
    generator = np.random.default_rng(step)
    return BlackBox(
        step=step,
        kind="non_finite",
        batch={
            "input/0": generator.random((4, 3)).astype(np.float32),
            "mask": np.array([[True, False]]),
            "ids": generator.integers(0, 9, (2, 2)),
            "nan": np.array([np.nan, np.inf]),
        },
        weights={"a.weight": generator.random((3, 2)).astype(np.float32), "scalar": np.array(2.0)},
        optimizer={"a.weight/exp_avg": generator.random((3, 2)).astype(np.float32).T},
        noise={"torch": np.arange(9, dtype=np.uint8)},
        gradients={"a.weight": 3.5},
        origin=Origin(
            "conv1", "forward", "It was there.", (ReplayedOperation("conv1", "Conv2d", 1.0, 0.5),)
        ),
        facts={"loss": 2.0, "framework": "torch"},
    )


def assert_same(one, other):
    assert (one.step, one.kind, one.gradients) == (other.step, other.kind, other.gradients)
    assert (one.origin, one.facts) == (other.origin, other.facts)
    for name in ("batch", "weights", "optimizer", "noise"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert right[key].dtype == value.dtype
            np.testing.assert_array_equal(right[key], value)


@pytest.mark.parametrize("of", ["box", "run folder", "run file"])
def test_comes_back(of, tmp_path):
    where = blackbox.save(box(), tmp_path)
    assert where == tmp_path / "step-7"
    given = {"box": where, "run folder": tmp_path, "run file": tmp_path / "run.sqlite"}[of]
    assert_same(box(), blackbox.load(given))


def test_one_order_whatever_a_copy_made_of_names_and_times(tmp_path):
    """By the step in the box: for the run's own box, for the list, for the report and for replay."""
    for step, name in ((12, "step-1"), (7, "step-30"), (100, "step-7-copy"), (9, "step-other")):
        blackbox.save(box(step), tmp_path / str(step)).rename(tmp_path / name)
        os.utime(tmp_path / name / "box.json", (step % 9, step % 9))
    steps = [7, 9, 12, 100]
    assert list(blackbox.boxes(tmp_path)) == steps
    assert [blackbox.load(place).step for place in blackbox.boxes(tmp_path).values()] == steps
    assert blackbox.load(tmp_path).step == 7
    assert [found.step for found in run_html._boxes(tmp_path)] == steps
    shown = CliRunner().invoke(app, ["replay", str(tmp_path)]).output
    assert "Step 7 " in shown
    assert "step 9, 12, 100 (--step N)" in shown
    assert "Step 100 " in CliRunner().invoke(app, ["replay", str(tmp_path), "--step", "100"]).output


def test_a_box_without_readable_facts_comes_last(tmp_path):
    broken = blackbox.save(box(3), tmp_path)
    (broken / "box.json").write_text("{")
    with pytest.raises(EvengradError, match=r"step-3.* cannot be read"):
        blackbox.load(tmp_path)
    blackbox.save(box(8), tmp_path)
    assert blackbox.load(tmp_path).step == 8


def test_a_box_of_an_earlier_version_is_read(tmp_path):
    where = blackbox.save(box(), tmp_path) / "box.json"
    where.write_text(where.read_text().replace('"operations"', '"passages"'))
    assert_same(box(), blackbox.load(tmp_path))


def test_objects_are_refused_rather_than_pickled(tmp_path):
    strange = BlackBox(1, "x", {"a": np.array([{}])}, {}, {}, {}, {})
    with pytest.raises(ValueError, match="allow_pickle"):
        blackbox.save(strange, tmp_path)


def test_nothing_is_unpickled(tmp_path):
    where = blackbox.save(box(), tmp_path)
    (where / "batch.npz").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(EvengradError, match="cannot be read"):
        blackbox.load(where)


@pytest.mark.parametrize("missing", ["box.json", "weights.safetensors"])
def test_what_is_no_box_says_so(missing, tmp_path):
    where = blackbox.save(box(), tmp_path)
    (where / missing).unlink()
    with pytest.raises(EvengradError, match=r"no black box|cannot be read"):
        blackbox.load(tmp_path)
