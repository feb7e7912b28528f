"""A black box comes back as it was, and needs no unpickling."""

import pickle

import numpy as np
import pytest

from evengrad.errors import EvengradError
from evengrad.recording import blackbox
from evengrad.recording.blackbox import BlackBox, Origin, ReplayedOperation


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


def test_the_last_one_of_a_run_is_taken(tmp_path):
    blackbox.save(box(7), tmp_path)
    blackbox.save(box(12), tmp_path)
    assert blackbox.load(tmp_path).step == 12


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
