"""`import evengrad` is cheap: no framework, no plotting or report library comes with it."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "keras", "tensorflow", "jax", "altair", "matplotlib", "jinja2", "rich", "typer")


@pytest.mark.parametrize("statement", ["import evengrad", "from evengrad import check"])
def test_import_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys\n{statement}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_no_name_in_the_list_is_misspelt() -> None:
    """A name that cannot be imported would make the test above blind to it."""
    from importlib.util import find_spec

    assert [name for name in HEAVY if find_spec(name) is None] == []
