"""The diff: what `git apply` makes of it must be the patched script, to the byte."""

import subprocess

import pytest
from patch_scripts import KERAS, KERAS_LIST, TORCH, TORCH_LIST, by_hand, lines, patched

from evengrad.errors import CannotChangeError
from evengrad.fixing.changes.clip_gradients import ClipGradients
from evengrad.fixing.changes.set_rate import SetRate
from evengrad.fixing.patch import write


def apply(patch, folder, name="train.py"):
    """The bytes of the file after `git apply`."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(patch.before.encode())
    diff = folder / "change.diff"
    diff.write_bytes(patch.diff(name).encode())
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "apply", "change.diff"], cwd=folder, check=True, capture_output=True)
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\r\n").rstrip("\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("# update", "# \u2028 \x0c é"),
    ],
)
@pytest.mark.parametrize("name", ["train.py", "src/my train.py"])
def test_git_applies_it(form, name, tmp_path):
    patch = patched(form(TORCH_LIST), ClipGradients("norm", 1.0), SetRate(0.5), frontend="torch")
    assert patch.after != patch.before
    assert apply(patch, tmp_path, name) == patch.after


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_new_lines_end_as_the_others_do(ending):
    patch = patched(TORCH_LIST.replace("\n", ending), ClipGradients("norm", 1.0), frontend="torch")
    assert patch.after.count("\n") == patch.after.count(ending)


def test_a_statement_behind_the_last_line(tmp_path):
    code = "import torch\no = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), 0.1)\no.step()"
    patch = patched(code, ClipGradients("norm", 1.0), frontend="torch")
    assert not patch.after.endswith("\n")
    assert apply(patch, tmp_path) == patch.after


def test_nothing_to_do_is_an_empty_diff():
    assert write(TORCH_LIST, [], "torch").diff("train.py") == ""
    assert patched(TORCH_LIST, SetRate(0.1), frontend="torch").diff("train.py") == ""


@pytest.mark.parametrize(
    ("source", "frontend"),
    [*((s, "keras") for s in KERAS.values()), *((s, "torch") for s in TORCH.values())],
)
def test_comments_stay(source, frontend):
    patch = patched(source, SetRate(0.5), ClipGradients("value", 0.1), frontend=frontend)
    for line in source.splitlines():
        assert ("#" not in line) or line.split("#")[1] in patch.after


def test_what_is_not_python_is_refused():
    with pytest.raises(CannotChangeError, match="Python"):
        write("def (:\n", [SetRate(0.1)], "torch")


def test_an_empty_script_has_nothing_to_change():
    assert "lr=0.1" in by_hand("", SetRate(0.1), frontend="torch")


def test_untouched_lines_are_untouched():
    gone, new = lines(patched(KERAS_LIST, SetRate(0.5), frontend="keras"))
    assert gone == ['model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")']
    assert new == [
        "model.compile(",
        "optimizer=keras.optimizers.Adam(learning_rate=0.5), "
        'loss="sparse_categorical_crossentropy"',
        ")",
    ]


def test_a_long_line_gets_one_argument_a_line():
    code = "import keras\no = keras.optimizers.Adam(" + ", ".join(
        f"{word}=0.123456789" for word in ("beta_1", "beta_2", "epsilon")
    )
    new = lines(patched(code + ")\n", SetRate(0.5), ClipGradients("norm", 1.0), frontend="keras"))[
        1
    ]
    assert new[0] == "o = keras.optimizers.Adam("
    assert new[1:-1] == [
        "beta_1=0.123456789,",
        "beta_2=0.123456789,",
        "epsilon=0.123456789,",
        "learning_rate=0.5,",
        "global_clipnorm=1.0,",
    ]
