"""Trainings of two processes: averaged gradients (DDP), and parameters in shards (FSDP), on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.adapters.torch.sharded_training import BOUND, RANKS, STEPS, WRAPPERS, data, network

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="built without")
SCRIPT = Path(__file__).with_name("sharded_training.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of the two processes saw, of every training."""
    folder = tmp_path_factory.mktemp("sharded")
    running = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), folder],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(RANKS)
    ]
    said = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0] * RANKS, "\n".join(said)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


def by_one_process(bound=None):
    """Norms of the gradients of the same training in one process, of the whole batch."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    norms = []
    for x, y in zip(*data(), strict=True):
        optimizer.zero_grad()
        cross_entropy(model(x.flatten(0, 1)), y.flatten()).backward()
        limit = torch.inf if bound is None else bound
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit)))
        optimizer.step()
    return norms


def largest_difference(one, other):
    pairs = zip(one["weights"], other["weights"], strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_changes_no_bit(found, wrapper):
    for rank in range(RANKS):
        plain, watched = found[rank][wrapper, "plain"], found[rank][wrapper, "watched"]
        assert largest_difference(plain, watched) == 0
        assert plain["losses"] == watched["losses"]
        assert not watched["off"]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("how", ["watched", "watched, clipped"])
def test_every_process_records_the_norm_of_the_whole_gradient(found, wrapper, how):
    expected = by_one_process(BOUND if "clipped" in how else None)
    for rank in range(RANKS):
        np.testing.assert_allclose(found[rank][wrapper, how]["norm"], expected, rtol=1e-5)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_clips_the_whole_gradient_as_torch_does(found, wrapper):
    for rank in range(RANKS):
        clipped = found[rank][wrapper, "clipped"]
        assert largest_difference(clipped, found[rank][wrapper, "watched, clipped"]) < 1e-6
        assert largest_difference(clipped, found[rank][wrapper, "plain"]) > 1e-3


@pytest.mark.skipif("fsdp" not in WRAPPERS, reason="this PyTorch has no fully_shard")
def test_every_process_skips_a_step_that_one_shard_makes_bad(found):
    """The gradient of one process's shard is infinite; the other's is not, and it skips as well."""
    for rank in range(RANKS):
        skipped = found[rank]["fsdp", "watched, corrupted"]
        assert skipped["applied"] == [1, 1, 1, 0, 1, 1]
        assert len(skipped["norm"]) == STEPS
        assert largest_difference(skipped, found[rank]["fsdp", "left out"]) == 0


@pytest.mark.skipif("fsdp" not in WRAPPERS, reason="this PyTorch has no fully_shard")
def test_every_process_writes_a_black_box_with_its_shards(found):
    kept = [found[rank]["fsdp", "watched, corrupted"] for rank in range(RANKS)]
    assert [one["step"] for one in kept] == [3] * RANKS
    assert [one["shard"] for one in kept] == [
        {"rank": rank, "processes": RANKS} for rank in range(RANKS)
    ]
    names = [name for name, _ in network().named_parameters()]
    for name, weight in zip(names, kept[0]["before"], strict=True):
        assert torch.equal(torch.cat([one["box"][name] for one in kept]), weight)
        slot = f"{name}/momentum_buffer"
        assert sum(one["momentum"][slot].shape[0] for one in kept) == weight.shape[0]
    for rank in range(RANKS):
        assert torch.equal(kept[rank]["batch"]["input/0"], data()[0][3, rank])
