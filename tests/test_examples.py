"""`evengrad check` on every script in examples/: exit status and causes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.examples

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
EXPECTED: dict[str, str | None] = {  # the cause that has to be among those found; None: healthy
    "article_cnn.py": "loss_head",
    "article_cnn_exploding.py": "initialisation",
    "torch_cnn.py": None,
    "torch_sigmoid.py": "activation",
}


def test_every_example_is_expected_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize(("name", "cause"), EXPECTED.items())
def test_example(name: str, cause: str | None, tmp_path: Path) -> None:
    data, page = tmp_path / "check.json", tmp_path / "check.html"
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    environment.pop("KERAS_BACKEND", None)
    command = [sys.executable, "-m", "evengrad", "check", str(EXAMPLES / name)]
    done = subprocess.run(
        [*command, "--html", str(page), "--json", str(data)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=240,
    )
    assert done.returncode == (0 if cause is None else 1), done.stdout + done.stderr
    assert page.stat().st_size > 0
    findings = json.loads(data.read_text(encoding="utf-8"))["findings"]
    causes = {finding["cause"] for finding in findings}
    assert (causes == set()) if cause is None else (cause in causes), findings
