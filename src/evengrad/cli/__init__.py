"""The command line: one file a verb. Only this package prints."""

from __future__ import annotations

import typer

from evengrad.cli import check, explain, fix, forecast, replay, report, run, runs

app = typer.Typer(
    name="evengrad",
    help="Keeps the gradients of neural networks even: what is wrong, where, why, and what to change.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("check", cls=check.CheckCommand, no_args_is_help=True)(check.check)
app.command("run", cls=check.CheckCommand, no_args_is_help=True)(run.run)
app.command("fix", cls=check.CheckCommand)(fix.fix_command)
app.command("report", no_args_is_help=True)(report.report)
app.command("runs")(runs.runs)
app.command("replay", no_args_is_help=True)(replay.replay)
app.command("forecast", no_args_is_help=True)(forecast.forecast)
app.command("explain", no_args_is_help=False)(explain.explain)


@app.callback(invoke_without_command=True)
def main(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    """Keeps the gradients of neural networks even."""
    if version:
        import evengrad

        print(f"evengrad {evengrad.__version__}")
        raise typer.Exit
