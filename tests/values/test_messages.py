"""What is said to people: messages keep their values, and each has its Chinese with the same figures."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest

from evengrad.values import message, wording
from evengrad.values.finding import Cause, Finding, Severity
from evengrad.values.message import joined, known_text, msg, tag, translated, with_values

pytest.importorskip("babel")

from tests import messages

SOURCE = messages.SOURCE


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setattr(message, "_chosen", ["zh"])


@pytest.fixture(scope="module")
def catalogue():
    return messages.read()


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def figures(text):
    """Numbers outside of braces, and what is no prose: codes and calls."""
    plain = re.sub(r"\{[^{}]*\}", "", text)
    return set(re.findall(r"\d+(?:[.,]\d+)*", plain)) | set(
        re.findall(r"EG\d{3}|\b\w+\(\)|--\w+", plain)
    )


def test_the_catalogue_has_all_that_the_source_says_and_nothing_else(catalogue):
    said = {text for _, text in messages.messages()}
    kept = {one.id for one in catalogue if one.id}
    assert said - kept == set(), "run `make messages`"
    assert kept - said == set(), "run `make messages`"


def test_every_message_has_its_translation(catalogue):
    assert [one.id for one in catalogue if one.id and not one.string] == []


def test_no_translation_has_lost_its_figures(catalogue):
    for one in catalogue:
        if one.id and one.string:
            assert figures(one.string) == figures(one.id), one.id
            if fields_are_read(one.id):
                assert fields(one.string) == fields(one.id), one.id


def fields_are_read(text):
    """Whether it is a format string: code in an advice may have braces of its own."""
    try:
        return all(name.isidentifier() for name in fields(text))
    except ValueError:
        return False


def test_what_is_compiled_is_what_is_written(catalogue):
    assert messages.MO.read_bytes() == messages.compiled(catalogue)


def calls(name):
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if f"{name}(" in text else ():
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == name
            ):
                yield file, node


def test_every_template_is_a_literal_with_a_value_for_each_field():
    for file, node in calls("msg"):
        where = f"{file}:{node.lineno}"
        assert isinstance(node.args[0], ast.Constant), where
        names = {keyword.arg for keyword in node.keywords}
        if names and None not in names:
            assert fields(node.args[0].value) == names, where


def test_whatever_is_counted_has_its_word():
    for file, node in calls("count"):
        what = getattr(node.args[1], "value", None) if len(node.args) == 2 else None
        if isinstance(what, str) and what.islower():  # not a layer's type
            assert what in wording.COUNTED, f"{file}:{node.lineno}"


def test_a_message_is_its_english_text_wherever_one_is_asked_for(chinese):
    made = msg("the losses of {count} steps", count=3)
    assert made == "the losses of 3 steps"
    assert json.dumps([made]) == '["the losses of 3 steps"]'
    assert f"{made}!" == "the losses of 3 steps!"
    assert {made: 1}["the losses of 3 steps"] == 1


@pytest.mark.parametrize("carried", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_it_keeps_its_template_on_its_way(carried):
    made = carried(msg("step {step}: {message}", step=3, message=msg("saturated")))
    assert (made, made.template) == ("step 3: saturated", "step {step}: {message}")
    assert made.values["message"].template == "saturated"


def test_values_that_are_messages_are_translated_with_it(chinese):
    made = msg(
        "{cause} has the largest share: {share}",
        cause=Cause.LEARNING_RATE.words,
        share=wording.fold(5.0),
    )
    assert translated(made) == "学习率所占份额最大：148 倍"


def test_parts_stay_messages(chinese):
    both = msg("learning rate") + ": " + msg("saturated")
    assert (both, translated(both)) == ("learning rate: saturated", "学习率: 已饱和")
    listed = joined(msg(", "), [msg("zeros"), "x {y}"])
    assert (listed, translated(listed)) == ("zeros, x {y}", "零值，x {y}")


def test_a_table_may_hold_templates():
    assert with_values(
        msg("class numbers from {least:g} to {most:g}"), {"least": 0, "most": 9}
    ) == ("class numbers from 0 to 9")


def test_names_are_not_translated(chinese):
    assert translated("zeros") == "zeros"
    assert (
        translated(msg("{layer}: {saturated:.0%} saturated", layer="zeros", saturated=0.5))
        == "zeros：50% 饱和"
    )


def test_a_finding_in_chinese_has_the_same_figures(chinese):
    title = msg(
        "the loss diverges: {last:.3g} now, {first:.3g} at the start", last=12.345, first=1.5
    )
    found = Finding("EG807", title, Cause.LEARNING_RATE, Severity.ERROR)
    assert translated(found.title) == "损失发散：现在 12.3，开始时 1.5"
    assert str(found) == "EG807 the loss diverges: 12.3 now, 1.5 at the start"


def test_a_docstring_of_a_rule_is_known(chinese):
    title = "EG101 exploding: the gradient grows from the output to the input."
    assert known_text(title) == "EG101 梯度爆炸：梯度从输出到输入不断增大。"
    assert known_text("of no catalogue") == "of no catalogue"


@pytest.mark.parametrize(
    ("given", "spoken"),
    [
        ({}, "en"),
        ({"EVENGRAD_LANG": "zh"}, "zh-CN"),
        ({"LANG": "zh_CN.UTF-8"}, "zh-CN"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "EVENGRAD_LANG": "en"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANGUAGE": "zh:en", "LANG": "en_US.UTF-8"}, "zh-CN"),
    ],
)
def test_the_language_is_the_environments(monkeypatch, given, spoken):
    for name in ("EVENGRAD_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert tag() == spoken


def test_what_is_chosen_comes_first_and_must_be_known(monkeypatch):
    monkeypatch.setattr(message, "_chosen", [])
    monkeypatch.setenv("EVENGRAD_LANG", "en")
    message.choose("zh_CN")
    assert tag() == "zh-CN"
    with pytest.raises(ValueError, match="Expected one of en, zh"):
        message.choose("xx")


def test_in_english_gettext_is_not_even_loaded():
    said = "import evengrad.values.message as m; m.translated(m.msg('dead'))"
    code = f"import sys; {said}; print('gettext' in sys.modules)"
    source = str(Path(message.__file__).parents[2])
    environment = {"PYTHONPATH": source, "EVENGRAD_LANG": "en", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "False", done.stderr


def test_a_message_comes_back_from_json_as_it_was(chinese):
    said = msg("step {step}: {message}", step=3, message=msg("saturated"))
    values = json.loads(json.dumps({"box": None} | message.spelled(said)))
    back = message.respelled(str(said), values)
    assert (back, translated(back), values) == (said, "第 3 步：已饱和", {"box": None})
    assert message.respelled("plain", {}) == "plain"
    assert message.spelled("plain") == {}
    assert (
        translated(message.of_spelling(json.loads(json.dumps(message.spelling(said)))))
        == "第 3 步：已饱和"
    )
