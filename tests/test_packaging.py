"""What pyproject.toml promises, and what is in the wheel."""

from __future__ import annotations

import re
import shutil
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from evengrad import adapters
from evengrad.errors import CannotCheckError, MissingFrameworkError
from evengrad.report import page
from evengrad.values.version import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_floors_are_those_of_the_extras():
    wanted = {}
    for requirement in (r for extra in PROJECT["optional-dependencies"].values() for r in extra):
        name, _, version = requirement.partition(">=")
        if name in adapters.FLOORS:
            wanted.setdefault(name, set()).add(version)
    without_keras = wanted["jax"] - {adapters.FLOORS["jax"]}
    source = (ROOT / "src/evengrad/adapters/jax/script.py").read_text()
    assert [f'_MEASURED = "{version}"' in source for version in without_keras] == [True]
    wanted["jax"] -= without_keras
    assert wanted == {name: {version} for name, version in adapters.FLOORS.items()}


@pytest.mark.parametrize(
    ("found", "old"),
    [("2.3.1+cpu", True), ("1.13", True), ("2.4.0a0", False), ("2.15.0", False), ("3.0", False)],
)
def test_a_framework_below_the_floor_is_named_with_both_versions(found, old):
    error = adapters.below_floor(SimpleNamespace(__name__="torch", __version__=found))
    assert (error is not None) == old
    if error is not None:
        assert str(error) == (
            f"evengrad needs torch {adapters.FLOORS['torch']} or newer, found {found}: "
            f"pip install 'torch>={adapters.FLOORS['torch']}'."
        )


def test_the_library_refuses_an_old_framework(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "__version__", "2.0.1")
    with pytest.raises(MissingFrameworkError, match=r"needs torch .* found 2\.0\.1"):
        adapters.adapter_of(torch.nn.Linear(1, 1), "probe")
    with pytest.raises(CannotCheckError):
        adapters.adapter_of("no model", "probe")


def test_no_user_installs_what_only_the_build_needs():
    assert not [r for r in PROJECT["dependencies"] if r.startswith("vl-convert")]


def test_the_wheel_has_the_charts_javascript_and_the_templates(tmp_path):
    build = pytest.importorskip("hatchling.build")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("vega.js"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        wheel = build.build_wheel(str(tmp_path / "dist"))
    assert wheel.startswith(f"evengrad-{__version__}-")
    names = zipfile.ZipFile(tmp_path / "dist" / wheel).namelist()
    for data in (
        "py.typed",
        "report/vega.js",
        "report/parts.html.j2",
        "report/style.css.j2",
        "cli/theory.md",
        "cli/theory.zh.md",
        "values/locale/zh_CN/LC_MESSAGES/evengrad.mo",
    ):
        assert f"evengrad/{data}" in names


def test_the_bundle_draws_what_altair_writes():
    """The same or a later generation of Vega-Lite, and nothing that ends the page's script early."""
    altair = pytest.importorskip("altair")
    text = page.javascript()
    versions = [int(v) for v in re.findall(r'"(\d+)\.\d+\.\d+"', text)]
    assert int(altair.SCHEMA_VERSION.removeprefix("v").split(".")[0]) in versions
    assert "</script" not in text
    assert "vegaEmbed" in text


def test_a_checkout_that_was_never_installed_says_so(monkeypatch):
    page.javascript.cache_clear()
    monkeypatch.setattr("evengrad.report.page.resources.files", lambda _: Path("nowhere"))
    with pytest.raises(page.EvengradError, match=r"pip install -e \."):
        page.javascript()
