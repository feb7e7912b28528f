"""Made-up measurements: what the claims are tried on without any training."""

from __future__ import annotations

from evengrad.fixing.lab.cells import LabTraining, Table
from evengrad.fixing.lab.subject import LabSubject
from evengrad.fixing.trial import Result

NOISE = (-0.01, 0.0, 0.01)


def subject(convolutions=2, **more):
    given = {
        "name": f"{convolutions} convolutions",
        "target": "article_torch.py",
        "arguments": (),
        "steps": 100,
        "layers": ("conv1", "conv2", "dense1", "dense2"),
        "activation": "relu",
        "rate": 0.1,
        "convolutions": convolutions,
    }
    return LabSubject(**(given | more))


def cell(cause="none", cure="none", accuracy=0.9, *, of=None, loss=0.5, norms=(1.0,) * 8, **growth):
    """The seeds of a cell. growth: of initialisation, activation and architecture, in decades."""
    network = (of or subject()).name
    start = {"initialisation": 0.0, "activation": 0.0, "architecture": 0.0} | growth
    return [
        LabTraining(
            network,
            cause,
            cure,
            seed,
            Result(
                "budget",
                (loss + noise,) * 8,
                tuple(norm * (1 + noise) for norm in norms),
                growth_at_start=tuple((k, v + noise) for k, v in start.items()),
                growth=tuple((k, v + noise) for k, v in start.items()),
            ),
            None if accuracy is None else accuracy + noise,
        )
        for seed, noise in enumerate(NOISE)
    ]


def table(*cells, subjects=None):
    return Table(subjects or [subject()], [one for cell in cells for one in cell])
