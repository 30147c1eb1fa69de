"""The command line: one small module for each verb."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from click.exceptions import ClickException, Exit

from vaeiso_monitor import __version__
from vaeiso_monitor.cli.check import check
from vaeiso_monitor.cli.demo import demo
from vaeiso_monitor.cli.explain import explain
from vaeiso_monitor.cli.init import init
from vaeiso_monitor.cli.models import models
from vaeiso_monitor.cli.run import run
from vaeiso_monitor.cli.score import score
from vaeiso_monitor.cli.terminal import complain
from vaeiso_monitor.cli.train import train
from vaeiso_monitor.errors import ConfigError, VaeisoError

app = typer.Typer(
    name="vaeiso-monitor",
    help=(
        "Finds anomalies in tabular streams by their likelihood under an isometric beta-VAE.\n\n"
        "A first look: [bold]vaeiso-monitor demo[/]. With your own records: [bold]init[/] writes a "
        "config from a sample, [bold]check[/] tells what is wrong with it and what run would do, "
        "[bold]run[/] does it."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, init, check, run, train, score, explain):
    app.command()(verb)
app.add_typer(models)


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Answer what concerns no verb."""
    if version:
        print(__version__)
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 (it failed) or 2 (the config or the call is wrong)."""
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments, prog_name="vaeiso-monitor", standalone_mode=False)
    except ConfigError as error:
        complain(str(error))
        return 2
    except VaeisoError as error:
        complain(str(error))
        return 1
    except Exit as error:
        return error.exit_code
    except ClickException as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return result if isinstance(result, int) else 0
