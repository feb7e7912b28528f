"""A script of the user's own in the lab."""

from __future__ import annotations

import textwrap

import here

from evengrad.fixing import trials
from evengrad.fixing.lab import laboratory
from evengrad.fixing.lab.grid import LabPlan
from evengrad.fixing.lab.laboratory import experiment

SCRIPT = """
    import torch
    from torch import nn
    torch.manual_seed(0)
    x = torch.randn(400, 8)
    y = (x[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for step in range(400):
        rows = torch.randint(0, 400, (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
"""


class Told:
    """Remembers the cells."""

    def begin(self, cells):
        self.planned = cells

    def measured(self, one):
        assert one.ran, one.result.message


def test_what_the_lab_needs_of_it_is_measured(tmp_path, monkeypatch):
    for module in (laboratory, trials):
        monkeypatch.setattr(module, "execute", here.execute)
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    plan = LabPlan(
        script=str(script),
        folder=tmp_path / "lab",
        steps=40,
        seeds=1,
        causes=("weights x0.1",),
        cures=("Kaiming",),
    )
    told = Told()
    found = experiment(plan, told)
    (one,) = found.table.subjects
    assert (one.name, one.activation, one.rate, one.layers) == (
        "train.py",
        "tanh",
        0.2,
        ("0", "2", "4"),
    )
    sound, sick, cured = (
        found.table.at("train.py", cause, cure)[0]
        for cause, cure in (("none", "none"), ("weights x0.1", "none"), ("weights x0.1", "Kaiming"))
    )
    assert told.planned == 4
    assert sound.accuracy is None
    assert sick.growth_at_start < sound.growth_at_start - 2  # three layers at a tenth
    assert cured.growth_at_start > sick.growth_at_start + 2
    assert sick.reached < 0.2 < cured.reached
