"""A run's file grows by bytes a figure, its page does not grow with the steps, and a watch stays small."""

import pytest

import evengrad
from bench.scale import remembered, written
from evengrad.report import run_html


@pytest.fixture(scope="module", params=[(400, 40), (4_000, 40)], ids=lambda p: f"{p[0]} steps")
def grown(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, *request.param, written(folder, *request.param)


def test_the_file(grown):
    _, steps, tensors, megabytes = grown
    observed = steps // 10
    rows = steps + observed * (tensors + tensors // 2)
    assert megabytes * 1e6 < 100_000 + 100 * rows


def test_the_page(grown):
    folder, *_ = grown
    run = evengrad.load(folder)
    assert len(run_html.render(run, evengrad.diagnose(run)).encode()) < 5e6


def test_the_memory_of_a_watch():
    """1 MB, and 64 bytes a tensor and row, of which 64 wait at most."""
    pytest.importorskip("torch")
    assert remembered(1_000, steps=25) < 1.0 + 64 * 64 * 1_000 / 1e6
