"""One file adds a rule, a run rule, a remedy or a change: those that CONTRIBUTING.md shows, put into a copy of
the package, are found and work; a wrong one is named with what it lacks.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import evengrad

ROOT = Path(__file__).parents[2]
SHOWN = dict(
    re.findall(
        r"^```python\n# src/evengrad/(\S+\.py)\n(.*?)^```$",
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)

USE = '''
import sys

import torch
from torch import nn

import evengrad
from evengrad.adapters.torch.change.change import apply
from evengrad.adapters.torch.change.model import LiveTraining
from evengrad.adapters.torch.probe import probe
from evengrad.diagnosis.catalogue import all_fact_rules, all_run_rules
from evengrad.diagnosis.diagnose import diagnose
from evengrad.errors import CannotChangeError
from evengrad.fixing.case import Case
from evengrad.fixing.changes import all_changes, from_json, to_json
from evengrad.fixing.remedies import candidates
from evengrad.fixing.trial import Result

assert "libcst" not in sys.modules and evengrad.__file__.startswith(sys.argv[1])
SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
for layer in model[::2]:
    nn.init.constant_(layer.bias, 5.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
"""


def biases(bound):
    return [float(layer.bias.detach().abs().max()) for layer in bound["model"][::2]]


exec(SCRIPT, bound := {})
model, optimizer, x, y = bound["model"], bound["optimizer"], torch.randn(64, 32), torch.randint(0, 10, (64,))
loss = nn.CrossEntropyLoss()
found = evengrad.check(model, loss=loss, batch=(x, y), optimizer=optimizer)
codes = [f.code for root in found.findings for f in (root, *root.echoes)]
assert "EG390" in codes, codes

measured = probe(model, loss=loss, batch=(x, y), optimizer=optimizer, rate=False)
case = Case(measured, diagnose(measured), Result("budget"), 200)
(candidate,) = candidates(case, ["zero_biases"])
assert from_json(to_json(candidate.changes)) == candidate.changes
assert all_changes()["ZeroBias"] is type(candidate.changes[0])

apply(LiveTraining(model, optimizer, (x,)), candidate.changes)
assert biases(bound) == [0.0, 0.0, 0.0]

from evengrad.fixing.patch import write

patch = write(SCRIPT, candidate.changes, "torch")
assert not patch.manual and "evengrad" not in patch.after
exec(patch.after, again := {})
assert biases(again) == [0.0, 0.0, 0.0]
keras = write("import keras", candidate.changes, "keras")
assert keras.after == keras.before
(message,) = keras.manual
assert message == "after the model is made add: bias.assign(bias * 0) in 0, 2, 4", message

from evengrad.fixing.repairs import candidates as repaired
from evengrad.values.fact import Fact, Where

(rule,) = [rule for rule in all_fact_rules() if rule.code == "EG990"]
fact = Fact("idle_optimizer", Where("train.py", 2, "loss.backward()"), 0, {"optimizer": "adam"})
assert [f.where.line for f in rule.check([fact], "torch")] == [2]
(way,) = repaired("loss = model(x)\\nloss.backward()\\n", fact, "train.py")
assert way.source == "loss = model(x)\\nloss.backward()\\nadam.step()\\n", way.source

(rule,) = [rule for rule in all_run_rules() if rule.code == "EG890"]
assert [f.code for s in rule.sick for f in diagnose(s.run())].count("EG890") == 1
assert "EG890" not in [f.code for s in rule.healthy for f in diagnose(s.run())]
'''

READ = """
from evengrad.diagnosis.catalogue import all_fact_rules, all_rules, all_run_rules
from evengrad.errors import DefinitionError
from evengrad.fixing.changes import all_changes
from evengrad.fixing.remedies import all_remedies
from evengrad.fixing.repairs import all_repairs

for read in (all_rules, all_run_rules, all_fact_rules, all_repairs, all_remedies, all_changes):
    try:
        read()
        print("nothing is wrong")
    except DefinitionError as error:
        print(error)
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package."""
    copy = tmp_path / "src" / "evengrad"
    shutil.copytree(
        Path(evengrad.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    return copy


def python(package, *arguments):
    """What a Python with this copy prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        cwd=package.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_files_of_contributing_work_by_being_there(package):
    places = [
        "diagnosis/rules",
        "diagnosis/run_rules",
        "diagnosis/fact_rules",
        "fixing/repairs",
        "fixing/remedies",
        "fixing/changes",
    ]
    assert [os.path.dirname(name) for name in SHOWN] == places
    for name, text in SHOWN.items():
        assert not (package / name).exists()
        (package / name).write_text(text, encoding="utf-8")
    python(package, "-c", USE, str(package))
    listed = python(package, "-m", "evengrad", "explain")
    assert "EG390  large bias" in listed
    assert "EG890  no rate" in listed
    assert "EG990  idle optimizer" in listed
    assert "begin with zeros" in python(package, "-m", "evengrad", "explain", "EG390")
    assert "zero_biases" in python(package, "-m", "evengrad", "fix", "--list")


def test_a_wrong_file_is_named_with_what_it_lacks(package):
    rule, run_rule, fact_rule, repair, remedy, change = SHOWN
    for name, old, new in (
        (rule, "SICK = (NetworkCase(bias=5.0),)\n", ""),
        (run_rule, "def check", "def chek"),
        (fact_rule, 'FACT = "idle_optimizer"\n', ""),
        (repair, "def repair", "def mend"),
        (remedy, "propose", "suggest"),
        (change, "    stage: ClassVar[int] = 85  # behind Initialise\n", ""),
    ):
        assert old in SHOWN[name]
        (package / name).write_text(SHOWN[name].replace(old, new), encoding="utf-8")
    said = python(package, "-c", READ).splitlines()
    assert said == [
        f"{package / rule}: a rule needs SICK, a tuple (missing).",
        f"{package / run_rule}: a rule needs check, a function (missing).",
        f"{package / fact_rule}: a fact rule needs FACT, a string (missing).",
        f"{package / repair}: a repair needs repair, a function (missing).",
        f"{package / remedy}: a remedy needs propose, a function (missing).",
        f"{package / change}: ZeroBias needs stage, an integer (missing).",
    ]


def test_wrong_names_and_classes_in_a_file_are_named_too(package):
    rule, run_rule, fact_rule, repair, remedy, change = SHOWN
    for name, old, new in (
        (rule, "import Cause,", "import Causes,"),
        (run_rule, '"EG890"', '"EG89"'),
        (fact_rule, 'SICK = (Program("torch", "..."),)', "SICK = (1,)"),
        (repair, "import Fact", "import Facts"),
        (remedy, '"""Biases', 'NAME = """Biases'),
        (change, "(Change)", ""),
    ):
        assert old in SHOWN[name]
        (package / name).write_text(SHOWN[name].replace(old, new), encoding="utf-8")
    said = python(package, "-c", READ).splitlines()
    broken, code, example, import_, undocumented, no_change = said
    assert broken.startswith(
        f"{package / rule} cannot be imported: ImportError: cannot import name 'Causes'"
    )
    assert code.startswith(f"{package / run_rule}: a rule needs a CODE such as EG101")
    assert example.startswith(
        f"{package / fact_rule}: SICK and HEALTHY need examples of type Program"
    )
    assert import_.startswith(f"{package / repair} cannot be imported: ImportError")
    # a string after the assignment is no docstring, and what follows it no future import
    assert undocumented.startswith(f"{package / remedy} cannot be imported: SyntaxError")
    assert no_change == (
        f"{package / change}: expected one class that derives from Change, found ZeroBias."
    )


def test_changes_are_read_without_a_framework_and_without_libcst(package):
    code = (
        "import sys; from evengrad.fixing.changes import all_changes; all_changes(); "
        "print([m for m in ('torch', 'keras', 'tensorflow', 'jax', 'libcst') if m in sys.modules])"
    )
    assert python(package, "-c", code) == "[]\n"
