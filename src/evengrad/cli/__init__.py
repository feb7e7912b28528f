"""The command line: one file a verb, loaded when it is asked for. Only this package prints."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from evengrad.cli.command import add, said_in_one_line
from evengrad.cli.language import Language, speak

COMMANDS = {
    "check": "Probe a training script's gradients before anything is trained.",
    "run": "Run a training script to its end, and watch its gradients.",
    "fix": "Find the change that makes a training healthy, and prove it.",
    "lab": "Measure which remedy cures which cause, and put the article's claims on trial.",
    "report": "Show what happened in a run, also while it goes on.",
    "runs": "List the runs in a folder, newest first.",
    "replay": "Show a step that the guard refused, and where it went wrong.",
    "forecast": "Forecast a model's gradients from its architecture alone.",
    "explain": "Explain a finding: what it means, how it is decided, what to do.",
}
"""Each command with the first line of its help: ``evengrad --help`` loads none of them."""


class _Group(TyperGroup):
    """Loads the one command that is called, from the module of its name."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """As usual, of translated texts."""
        speak(self)
        super().format_help(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, found, rest
        with said_in_one_line(name):
            return name, load(name), rest


def load(name: str) -> Any:
    """A command from its module: the function of that name, with OPTIONS for Typer if it has any."""
    one = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
    )
    module = importlib.import_module(f"evengrad.cli.{name}")
    add(one, name, getattr(module, name), **getattr(module, "OPTIONS", {}))
    return typer.main.get_command(one)


app = typer.Typer(
    name="evengrad",
    cls=_Group,
    help="Keeps the gradients of neural networks even: what is wrong, where, why, and what to change.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: Rich would take half of the time
)
for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(lambda: None)


@app.callback(invoke_without_command=True)
def main(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    _lang: Language = None,
) -> None:
    """Keeps the gradients of neural networks even."""
    if version:
        from evengrad.values.version import __version__

        print(f"evengrad {__version__}")
        raise typer.Exit
