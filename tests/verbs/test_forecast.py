"""``evengrad.forecast`` and ``evengrad forecast``, on specs and on torch models."""

import json
import math
import sys

import numpy as np
import pytest
import torch
from theory.specs import Graph
from torch import nn
from typer.testing import CliRunner

import evengrad
from evengrad.cli import app
from evengrad.diagnosis.budget import budget
from evengrad.errors import CannotCheckError


def network(width=64, depth=6, gain=1.0):
    layers = []
    for i in range(depth):
        layer = nn.Linear(20 if i == 0 else width, width)
        nn.init.normal_(layer.weight, std=gain * math.sqrt(2 / layer.in_features))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def test_a_spec_is_forecast_as_it_is():
    graph = Graph((8, 32))
    x = 0
    for _ in range(3):
        x = graph.phi(graph.dense(x, 32, math.sqrt(2)), "relu")
    found = evengrad.forecast(graph.spec())
    assert found.total.low < found.total.median < found.total.high
    assert budget(found.expected).total == pytest.approx(found.total.median)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_the_band_holds_what_probes_of_other_seeds_measure(gain):
    torch.manual_seed(0)
    found = evengrad.forecast(network(gain=gain), (20,), batch_size=32)
    inside = []
    for seed in range(1, 13):
        torch.manual_seed(seed)
        batch = torch.randn(32, 20), torch.randint(10, (32,))
        probe = evengrad.check(network(gain=gain), loss=nn.CrossEntropyLoss(), batch=batch).probe
        levels = {v.operation: v.log_norm for v in budget(probe).profile}
        assert set(levels) == set(found.levels)
        inside += [found.levels[name].holds(level) for name, level in levels.items()]
    assert np.mean(inside) > 0.85


def test_a_check_says_that_any_seed_would_do_the_same():
    torch.manual_seed(3)
    batch = torch.randn(64, 20), torch.randint(10, (64,))
    check = evengrad.check(network(), loss=nn.CrossEntropyLoss(), batch=batch)
    assert check.prediction is not None
    assert check.prediction.total.holds(budget(check.probe).total)


def test_a_broken_layer_is_outside_its_band():
    """All units of one layer read the same input: its scale is as it should be, what it does is not."""
    from evengrad.report.expected import outside

    torch.manual_seed(4)
    model = network()
    with torch.no_grad():
        weight = model[6].weight
        row = weight.square().sum(1).sqrt()
        weight.zero_()
        weight[:, 0] = row
    batch = torch.randn(64, 20), torch.randint(10, (64,))
    check = evengrad.check(model, loss=nn.CrossEntropyLoss(), batch=batch)
    assert any(o.layer == "6" for o in outside(check))


def test_the_even_initialisation_is_named():
    found = evengrad.forecast(
        lambda: nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 3)), (9,)
    )
    first, last = found.initialisation
    assert first.layers == ("0",)
    assert "kaiming_normal_" in first.code
    assert first.gain == pytest.approx(math.sqrt(2))
    assert first.actual == pytest.approx(math.sqrt(1 / 3), rel=1e-6)
    assert last.gain == pytest.approx(1.0)
    kept = evengrad.forecast(network(), (20,)).initialisation
    assert kept[0].kept


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (nn.Linear(3, 3), {}, "input_shape"),
        (nn.Linear(3, 3), {"input_shape": (0,)}, "positive whole numbers"),
        (nn.Linear(3, 3), {"input_shape": (None, 3)}, "dynamic lengths"),
        (nn.Linear(3, 3), {"input_shape": (4,)}, "input of shape (32, 4)"),
        (nn.Linear(3, 3), {"input_shape": (3,), "batch_size": 0}, "batch_size"),
        (nn.Sequential(nn.LazyLinear(4)), {"input_shape": (3,)}, "lazy"),
        (3, {"input_shape": (3,)}, "Expected a torch.nn.Module"),
    ],
)
def test_wrong_input_is_told_what_to_do(model, arguments, words):
    with pytest.raises(CannotCheckError) as error:
        evengrad.forecast(model, **arguments)
    assert words in str(error.value)


def test_an_operation_without_a_rule_says_so_and_widens_the_band():
    class Sorted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return torch.sort(self.layer(x)).values

    found = evengrad.forecast(Sorted(), (8,))
    assert any("no rule" in note for note in found.notes)
    assert found.total.high - found.total.low > math.log(30)


# --- the command ----------------------------------------------------------------------------------

NETS = """
import torch
from torch import nn

def deep():
    layers = []
    for _ in range(30):
        layers += [nn.Linear(32, 32), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(32, 2))

small = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "nets_to_forecast.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("nets_to_forecast", None)
    sys.path[:] = [p for p in sys.path if p != str(tmp_path)]


def run(*arguments):
    return CliRunner().invoke(app, ["forecast", *arguments])


def test_the_command_on_a_model_and_on_a_factory(nets):
    healthy = run(
        "nets_to_forecast:small", "--input", "4", "--json", "out/f.json", "--html", "f.html"
    )
    assert healthy.exit_code == 0, healthy.output
    told = json.loads((nets / "out" / "f.json").read_text())
    assert told["forecast"]["measured"] is False
    assert set(told["forecast"]["levels"]) == {"0", "1", "2"}
    assert "nothing was run" in (nets / "f.html").read_text()
    sick = run("nets_to_forecast:deep", "--input", "32", "--batch", "8")
    assert sick.exit_code == 1
    assert "EG" in sick.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("nets_to_forecast:small",),
        ("nets_to_forecast:small", "--input", "x"),
        ("nets_to_forecast:nothing", "--input", "4"),
        ("nets_to_forecast", "--input", "4"),
        ("no_such_module:f", "--input", "4"),
    ],
)
def test_the_command_refuses_with_status_2(nets, arguments):
    assert run(*arguments).exit_code == 2
