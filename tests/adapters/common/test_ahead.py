"""Whether a script may begin another training, told from its source at the line where it begins one."""

import sys
import textwrap

import pytest

from evengrad.adapters.common.ahead import ahead, called


def seen(tmp_path, text, again=True):
    """The line found at each call of ``begin``, in the order of the calls; None where there was none."""
    path, found = tmp_path / "train.py", []
    path.write_text(textwrap.dedent(text))

    def begin(*_):
        place = ahead(sys._getframe(1), lambda call, _: called(call) == "begin", again=again)
        found.append(None if place is None else place.line)

    def execute(code, names):
        exec(code, names)

    execute(compile(path.read_text(), str(path), "exec"), {"begin": begin})
    return found


def test_the_last_line_of_a_script_has_nothing_ahead(tmp_path):
    assert seen(tmp_path, "begin()\nprint()\nbegin()\n") == [3, None]


def test_a_loop_around_the_line_comes_back_to_it(tmp_path):
    assert seen(tmp_path, "for i in range(2):\n    begin(i)\n") == [2, 2]
    assert seen(tmp_path, "for i in range(2):\n    begin(i)\n", again=False) == [None, None]


def test_the_other_branch_is_not_ahead(tmp_path):
    text = """
    if True:
        begin("adam")
    elif begin:
        begin("sgd")
    else:
        begin("rmsprop")
    """
    assert seen(tmp_path, text) == [None]


def test_a_loop_inside_a_training_is_not_another_training(tmp_path):
    text = """
    def main():
        begin()
        for epoch in range(2):
            for batch in range(3):
                print(epoch, batch)

    main()
    """
    assert seen(tmp_path, text) == [None]


@pytest.mark.parametrize(
    "text",
    [
        "def train():\n    begin()\n\n\nfor i in range(2):\n    train()\n",
        "def train():\n    begin()\n\n\ndef main():\n    train()\n    train()\n\n\nmain()\n",
        "def train():\n    begin()\n\n\ntrains = [train() for i in range(2)]\n",
    ],
)
def test_functions_are_looked_into(tmp_path, text):
    assert seen(tmp_path, text)[0] is not None


def test_a_class_begins_where_it_is_made(tmp_path):
    text = """
    class Trainer:
        def __init__(self):
            self.optimizer = begin()

        def train(self):
            for epoch in range(2):
                print(epoch)

    trainer = Trainer()
    trainer.train()
    """
    assert seen(tmp_path, text) == [None]
    assert seen(tmp_path, textwrap.dedent(text) + "Trainer().train()\n") == [4, None]


def test_what_is_only_defined_begins_nothing(tmp_path):
    assert seen(tmp_path, "begin()\n\n\ndef later():\n    begin()\n") == [None]
