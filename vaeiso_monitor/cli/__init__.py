"""The command line: one small module for each verb."""

from __future__ import annotations

from typing import Annotated

import typer

from vaeiso_monitor import __version__
from vaeiso_monitor.cli.check import check
from vaeiso_monitor.cli.dashboards import dashboards
from vaeiso_monitor.cli.demo import demo
from vaeiso_monitor.cli.explain import explain
from vaeiso_monitor.cli.feedback import feedback
from vaeiso_monitor.cli.init import init
from vaeiso_monitor.cli.isometry import isometry
from vaeiso_monitor.cli.models import models
from vaeiso_monitor.cli.reproduce import reproduce
from vaeiso_monitor.cli.retrain import retrain
from vaeiso_monitor.cli.rules import rules
from vaeiso_monitor.cli.run import run
from vaeiso_monitor.cli.schema import schema
from vaeiso_monitor.cli.score import score
from vaeiso_monitor.cli.terminal import complain
from vaeiso_monitor.cli.train import train
from vaeiso_monitor.errors import ConfigError, VaeisoError

app = typer.Typer(
    name="vaeiso-monitor",
    help=(
        "Finds anomalies in tabular streams by their likelihood under an isometric beta-VAE.\n\n"
        "A first look: **vaeiso-monitor demo**. With your own records: **init** writes a "
        "config from a sample, **check** tells what is wrong with it and what run would do, "
        "**run** does it."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, init, check, run, train, score, explain, feedback, retrain, isometry):
    app.command()(verb)
app.command()(rules)
app.command()(dashboards)
app.command()(schema)
app.add_typer(models)
app.add_typer(reproduce)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,  # no verb is missed
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Log warnings only, and never to standard output; `run`, `train` and `demo` say more."""
    from vaeiso_monitor.telemetry import LoggingConfig, configure_logging

    configure_logging(LoggingConfig(level="warning"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 (it failed) or 2 (the config or the call is wrong)."""
    command = typer.main.get_command(app)
    try:
        # in this mode typer itself shows what is wrong with a call, and always ends with an exit
        command.main(arguments, prog_name="vaeiso-monitor")
    except ConfigError as error:
        complain(str(error))
        return 2
    except VaeisoError as error:
        complain(str(error))
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
