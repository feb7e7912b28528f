"""Two processes of one training, one of which fails, is not watched, differs, or dies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import evengrad
from tests.adapters.torch.mishaps import STEPS

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="built without")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mishaps")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    script = Path(__file__).with_name("mishaps.py")
    subprocess.run([sys.executable, script, folder], env=environment, check=True, timeout=240)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("mishap", ["tap_fails", "fails_later"])
def test_where_one_watch_fails_all_train_on_unwatched(found, mishap):
    for one in found:
        assert one[mishap]["off"]
        assert one[mishap]["weights"] == one["bare"]["weights"]
    assert "another process of this training is no longer watched" in "".join(found[0]["said"])


def test_one_that_is_watched_alone_says_so(found):
    first = found[0]["first_alone"]
    assert first["weights"] == found[0]["bare"]["weights"]
    assert first["steps"] == STEPS
    assert "norms and losses are of this process alone: rank 1 did not begin" in first["events"][0]


def test_a_tensor_that_they_disagree_about_is_named(found):
    for one in found:
        assert "disagree about layer.weight: (3, 4) float32 on rank 0, (3, 5)" in one["disagree"]


def test_one_that_dies_ends_the_other_by_an_error_and_its_run_is_whole(found, folder):
    assert found[0]["dies"]["error"]
    (path,) = (folder / "dies" / "0").glob("*/run.sqlite")
    assert len(evengrad.load(path).steps["step"]) == 3
