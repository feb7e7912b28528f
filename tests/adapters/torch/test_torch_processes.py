"""Norms of the whole in trainings of two and four processes, against one process in float64, and what they do
where one of them is spoilt. The processes are started once for each number.
"""

import numpy as np
import pytest
import torch

from bench.distributed.measure import processes, worst
from bench.distributed.ways import WAYS

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="built without"),
    pytest.mark.skipif(torch.__version__ < "2.6", reason="has no fully_shard"),
]
CASES = [(2, way) for way in WAYS if 2 in way.sizes]
CASES += [(4, way) for way in WAYS if way.name == "hsdp"]  # `python -m bench.distributed` tries all


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    kept = {}

    def of(size):
        if size not in kept:
            folder = tmp_path_factory.mktemp(f"of-{size}")
            kept[size] = processes(size, folder, [way.name for n, way in CASES if n == size])
        return kept[size]

    return of


@pytest.mark.parametrize(("size", "way"), CASES, ids=lambda one: getattr(one, "name", one))
def test_every_process_records_the_norms_of_the_whole(found, size, way):
    for run in (one[way.name]["healthy"] for one in found(size)):
        assert not run["off"]
        apart = worst(run, way.kind)
        assert max(apart[name] for name in apart if name != "update_rms") < 1e-5
        assert apart["update_rms"] < 1e-3  # a difference of weights in float32


@pytest.mark.parametrize(("size", "way"), CASES, ids=lambda one: getattr(one, "name", one))
def test_one_that_is_spoilt_stops_the_step_in_all_and_is_named(found, size, way):
    runs = [one[way.name]["spoilt"] for one in found(size)]
    for run in runs:
        assert run["applied"] == [1, 0, 1]
        assert run["finite"]
        assert not run["off"]
        np.testing.assert_array_equal(run["norm"], runs[0]["norm"])
        assert f"it began on rank {size - 1} of {size}" in run["events"][0]
