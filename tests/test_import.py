"""What is loaded when: nothing by `import evengrad`, each library by the first use that needs it."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

FRAMEWORKS = ("torch", "keras", "tensorflow", "jax")
LATE = ("altair", "jinja2", "libcst")  # to draw, to render, to patch
HEAVY = (*FRAMEWORKS, *LATE, "matplotlib", "numpy", "rich", "safetensors", "typer", "wrapt")
COMMANDS = ["check", "run", "fix", "lab", "report", "runs", "replay", "forecast", "explain"]


def loaded(code: str, names: tuple[str, ...]) -> list[str]:
    """Which of the modules are there after this code."""
    told = f"{code}\nimport sys\nprint('loaded', *sorted(set({names!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "code", ["import evengrad", "import evengrad.keras, evengrad.lightning, evengrad.transformers"]
)
def test_import_loads_nothing_heavy(code: str) -> None:
    assert loaded(code, HEAVY) == []


def test_help_loads_typer_alone() -> None:
    code = """
import sys
sys.argv = ["evengrad", "--help"]
from evengrad.cli import app
try:
    app()
except SystemExit:
    pass
"""
    assert loaded(code, HEAVY) == ["typer"]


@pytest.mark.parametrize(
    "code",
    [
        "from evengrad import Check, Fixing, Forecast, Run, check, fix, forecast, keras, load, watch",
        "from evengrad.report import html, fix_html, run_html, json, fix_json, run_json, text",
        "from evengrad.cli import load\n" + "\n".join(f"load({name!r})" for name in COMMANDS),
    ],
)
def test_libraries_are_loaded_by_what_needs_them(code: str) -> None:
    assert loaded(code, (*FRAMEWORKS, *LATE)) == []


def test_no_name_in_the_list_is_misspelt() -> None:
    """A name that cannot be imported would make the tests above blind to it."""
    assert [name for name in HEAVY if find_spec(name) is None] == []


@pytest.mark.parametrize(
    ("module", "source", "says"),
    [
        ("numpy", "raise ImportError('no libblas.so')", "needs numpy, which cannot be imported"),
        ("numpy", "import a_package_of_no_such_name", "needs numpy, which cannot be imported"),
        ("rich", "0 / 0", "evengrad itself failed in `evengrad"),
    ],
)
@pytest.mark.parametrize("command", [["replay", "runs/some"], ["--help"]], ids=str)
def test_a_package_that_cannot_be_imported_is_one_line(module, source, says, command, tmp_path):
    (tmp_path / f"{module}.py").write_text(source)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from evengrad.cli import app; app({command})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    if command == ["--help"]:
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
