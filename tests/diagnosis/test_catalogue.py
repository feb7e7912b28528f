"""Rules are found by being there, and a file that is none is named with what it lacks."""

import re
import sys
from pathlib import Path

import pytest

from evengrad.cli import COMMANDS, load
from evengrad.diagnosis import catalogue
from evengrad.diagnosis.catalogue import all_fact_rules, all_rules, all_run_rules, explanations
from evengrad.diagnosis.examples.network import NetworkCase
from evengrad.errors import DefinitionError

ROOT = Path(__file__).parents[2]
RULE = '''"""EG990 mine: it is mine.

What it finds: nothing."""
from evengrad.diagnosis.examples.network import NetworkCase
CODE = "EG990"
SICK = (NetworkCase(),)
HEALTHY = (NetworkCase(depth=2),)
def check(evidence): return ()
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    package = tmp_path / "own_rules"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.startswith("own_rules")]:
        del sys.modules[name]


def rules():
    return catalogue._rules("own_rules", NetworkCase)


def test_every_code_has_one_explanation_in_order():
    catalogues = (all_rules(), all_run_rules(), all_fact_rules())
    codes = [rule.code for rules in catalogues for rule in rules]
    assert len(set(codes)) == len(codes) == len(explanations())
    assert codes == [code for rules in catalogues for code in sorted(rule.code for rule in rules)]


def test_a_file_is_a_rule_by_being_there(folder):
    (folder / "b.py").write_text(RULE)
    (folder / "a.py").write_text(RULE.replace("EG990", "EG991"))
    first, second = rules()
    assert (first.code, first.name, second.code) == ("EG990", "b", "EG991")
    assert first.explanation.startswith("EG990 mine: it is mine.")
    assert (first.sick, first.healthy) == ((NetworkCase(),), (NetworkCase(depth=2),))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("SICK =", "SICKLY =", r"own_rules/mine\.py: a rule needs SICK, a tuple \(missing\)"),
        ("def check", "def chek", r"mine\.py: a rule needs check, a function \(missing\)"),
        ('CODE = "EG990"', "CODE = 990", r"CODE, a string \(is 990\)"),
        ('CODE = "EG990"', 'CODE = "E990"', r"a CODE such as EG101.* CODE is 'E990'"),
        ('"""EG990 mine', '"""Mine', r"the docstring begins 'Mine: it is mine\.'"),
        ("(NetworkCase(),)", '("deep",)', r"examples of type NetworkCase \(.*\), got str"),
        ("def check", "import nothing_there\ndef check", r"mine\.py cannot be imported"),
    ],
)
def test_a_file_that_is_no_rule_is_named(folder, old, new, said):
    (folder / "mine.py").write_text(RULE.replace(old, new))
    with pytest.raises(DefinitionError, match=said):
        rules()


def test_two_rules_of_one_code_are_named(folder, monkeypatch):
    (folder / "mine.py").write_text(RULE.replace("EG990", "EG101"))
    explanations.cache_clear()
    monkeypatch.setattr(catalogue, "all_rules", lambda: (*all_rules(), *rules()))
    with pytest.raises(DefinitionError, match=r"the code EG101: exploding\.py and mine\.py"):
        explanations()


@pytest.mark.parametrize("code", explanations())
def test_an_explanation_refers_to_what_ships_alone(code):
    """Pages and their sections, commands and their options; never our own papers."""
    text = " ".join(explanations()[code].split())
    assert not re.search(r"PEERS|THEORY|AUDIT|DESIGN|the article", text)
    for page, section in re.findall(r"(docs/[\w-]+\.md)(?:, ([A-Z][a-z ]+[a-z]))?", text):
        assert (ROOT / page).exists()
        assert not section or f"\n## {section}\n" in (ROOT / page).read_text()
    commands = {name: load(name) for name in COMMANDS}
    for name, rest in re.findall(r"`evengrad (\w+)([^`]*)`", text):
        options = {option for param in commands[name].params for option in param.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= options
    options = {o for command in commands.values() for param in command.params for o in param.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text)) <= options
