"""The code in README and docs: Python is run, commands and their options exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from typer.main import get_command

from evengrad import cli
from evengrad.cli.explain import theory

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[1]
CHINESE = [ROOT / "README.zh.md", *sorted((ROOT / "docs/zh").glob("*.md"))]  # with the same code
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *CHINESE,
]
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.M | re.S
)


def blocks(kind):
    """Each block of that kind that no comment marks with the reason why not. CONTRIBUTING's are files of a copy
    of the package: see test_discovery.
    """
    found = []
    for page in (page for page in PAGES if page.name != "CONTRIBUTING.md" and page not in CHINESE):
        content = page.read_text()
        for block in _BLOCK.finditer(content):
            if block["kind"] == kind and not block["why"]:
                line = content[: block.start()].count("\n") + 1
                found.append(pytest.param(block["text"], id=f"{page.name}:{line}"))
    return found


class KerasModel:
    """``fit`` without Keras: what the documents say of it is tested with the adapter."""

    def fit(self, *data, callbacks):
        assert data
        assert len(callbacks) == 1


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What a reader of the documents has: a model that trains, a recorded run, a script."""
    import evengrad

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    loss_fn = torch.nn.CrossEntropyLoss()

    def train():
        for _ in range(3):
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()

    def build_model():
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        )

    with evengrad.watch(model, optimizer, name="train") as watched:
        train()
    watched.watching.path.parent.rename("runs/20260101-120000-train")

    def watch(*given, **settings):
        return evengrad.watch(*given, **{"folder": tmp_path / "own", **settings})

    return {
        "__name__": "documents",  # what is behind `if __name__ == "__main__"` is not run
        "evengrad": evengrad,
        **{"model": model, "optimizer": optimizer, "loss_fn": loss_fn, "x": x, "y": y},
        **{"train": train, "build_model": build_model},
    }


@pytest.mark.parametrize("text", blocks("python"))
def test_python_runs(text, names):
    if "keras.Watch(" in text:
        text = text.replace("evengrad.keras.Watch(", "dict(")
        text = text.replace("model.fit(", "keras_model.fit(")
        names["keras_model"] = KerasModel()
    if "build_model, (3, 224, 224)" in text:
        text = text.replace("(3, 224, 224)", "(3, 8, 8)").replace('["conv1"]', '["0"]')
    exec(compile(text, "document", "exec"), names)


def lines():
    """Every command line of ours in a block or in running text."""
    found = set()
    for page in PAGES:
        content = re.sub(r"\\\n\s*", " ", page.read_text())
        for block in re.findall(r"^```\w*\n(.*?)^```", content, re.M | re.S):
            found |= {line for line in block.splitlines() if line.startswith("evengrad ")}
        found |= set(re.findall(r"`(evengrad [^`\n]+)`", content))
    return sorted(found)


@pytest.mark.parametrize("line", lines())
def test_commands_and_their_options_exist(line):
    words = shlex.split(line.partition("  #")[0].partition(";")[0], comments=True)
    own = words[1 : words.index("--")] if "--" in words else words[1:]
    group = get_command(cli.app)
    if own[0].startswith("-"):
        assert own[0] in {option for p in group.params for option in p.opts}
        return
    assert own[0] in cli.COMMANDS
    command = cli.load(own[0])
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word.partition("=")[0] for word in own[1:] if word.startswith("-")} <= known


def test_options_in_running_text_exist():
    parameters = [p for name in cli.COMMANDS for p in cli.load(name).params]
    known = {option for p in parameters for option in (*p.opts, *p.secondary_opts)}
    for page in (
        ROOT / "README.md",
        *[ROOT / "docs" / f"{n}.md" for n in ("fix", "watching", "json")],
    ):
        for option in re.findall(r"`(--[a-z-]+)[` ]", page.read_text()):
            assert option in known, (page.name, option)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_list_of_commands_says_what_their_help_says(name):
    help_text = " ".join(cli.load(name).help.split())
    assert help_text.startswith(cli.COMMANDS[name])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_target_of_make_that_is_named_exists():
    known = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)`", page.read_text()):
            assert target in known, (page.name, target)


def test_the_chinese_pages_have_the_blocks_and_the_codes_of_the_english_ones():
    for page in CHINESE:
        english = ROOT / str(page.relative_to(ROOT)).replace("zh/", "").replace(".zh", "")
        assert (
            f"]({english.name})" in page.read_text() or f"](../{english.name}" in page.read_text()
        )
        if page.name in ("README.zh.md", "article.md"):
            codes = [set(re.findall(r"EG\d{3}", one.read_text())) for one in (page, english)]
            assert codes[0] >= codes[1], page


def test_the_chinese_theory_has_the_figures_of_the_english_one():
    pages = [(ROOT / "docs" / name).read_text() for name in ("theory.md", "zh/theory.md")]
    english, chinese = (Counter(re.findall(r"\d[\d.,]*(?<![.,])|`[^`]+`", page)) for page in pages)
    assert chinese == english


def test_the_theory_is_explained_in_the_language_spoken(monkeypatch):
    for language, title in (("en", "# Theory"), ("zh", "# 理论")):
        monkeypatch.setenv("EVENGRAD_LANG", language)
        assert theory().startswith(title)
