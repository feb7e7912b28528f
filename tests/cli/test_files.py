"""Files that a command writes: looked at before anything is run, and no reason to lose a result."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import evengrad.cli.fix
from evengrad.cli import app, files
from evengrad.errors import EvengradError
from evengrad.fixing.outcome import Fixing
from evengrad.fixing.patch import Patch

COMMANDS = [
    ["check", "train.py"],
    ["run", "train.py"],
    ["fix", "train.py"],
    ["report", "runs/some"],
    ["forecast", "nets:model"],
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize("option", ["--html", "--json"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_nothing_is_run_for_a_file_that_cannot_be_written(command, option):
    Path("train.py").write_text("open('began', 'w')")
    Path("nets.py").write_text("open('began', 'w')")
    Path("folder").mkdir()
    Path("file").touch()
    for where, why in (("folder", "folder is a folder"), ("file/x.html", "file is no folder")):
        done = CliRunner().invoke(app, [*command, option, where])
        assert done.exit_code == 2
        assert f"Cannot write {where}: {why}." in done.stderr
        assert not Path("began").exists()


def test_looking_makes_nothing():
    files.expect_writable(Path("a/b/c.html"), None, Path("d.json"))
    assert not list(Path().iterdir())


def test_a_folder_without_permission(monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(EvengradError, match="no permission to write"):
        files.expect_writable(Path("x/y.html"))


@pytest.fixture
def fixed(monkeypatch):
    """A fix that takes no minutes: the script is patched."""
    Path("train.py").write_text("before\n")

    def made_up(plan, _dask):
        patch = Patch(before="before\n", after="after\n", manual=())
        return Fixing(plan, "healthy", patch=patch)

    monkeypatch.setattr(evengrad.cli.fix, "_fix", made_up)


@pytest.mark.parametrize("option", ["--html", "--json"])
def test_fix_makes_the_folders_of_its_files(fixed, option):
    done = CliRunner().invoke(app, ["fix", "train.py", "--apply", option, "x/y/file"])
    assert done.exit_code == 0, done.output
    assert Path("x/y/file").stat().st_size > 100
    assert Path("train.py").read_text() == "after\n"


def test_fix_puts_its_page_beside_the_trials(fixed):
    done = CliRunner().invoke(app, ["fix", "train.py"])
    assert done.stdout.splitlines()[-1] == "report: runs/fix-train/report.html"
    assert Path("runs/fix-train/report.html").exists()
    other = CliRunner().invoke(app, ["fix", "train.py", "--folder", "elsewhere", "--no-html"])
    assert (other.exit_code, Path("elsewhere").exists()) == (0, False)


@pytest.mark.parametrize(
    ("broken", "error", "says"),
    [
        ("pathlib.Path.write_text", OSError(28, "No space left on device"), "No space left"),
        ("evengrad.report.fix_html.render", KeyError("planted"), "evengrad itself failed"),
    ],
)
def test_what_goes_wrong_with_a_page_keeps_no_patch_from_the_script(
    fixed, monkeypatch, broken, error, says
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(broken, fail)
    done = CliRunner().invoke(app, ["fix", "train.py", "--apply"])
    assert says in done.stderr
    assert done.exit_code == 2
    assert Path("train.py").read_text() == "after\n"
    assert "train.py is healthy" in done.stdout
