"""``rules``: the alert rules for Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vaeiso_monitor.cli.options import DEFAULT_CONFIG
from vaeiso_monitor.errors import ConfigError


def rules(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The TOML config of the daemon.")
    ] = DEFAULT_CONFIG,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write this file. Default: stdout."),
    ] = None,
    job: Annotated[
        str, typer.Option("--job", help="The job label that Prometheus gives the daemon.")
    ] = "vaeiso-monitor",
    runbooks: Annotated[
        str,
        typer.Option("--runbooks", metavar="URL", help="Where the page of runbooks is served."),
    ] = "docs/runbooks.md",
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="RULE", help="Leave a rule out; may be repeated."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="Put on every alert; may be repeated."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            min=1,
            help="For a trial: make all waiting times and windows so many times shorter. The "
            "alerts say so.",
        ),
    ] = 1.0,
    format_: Annotated[
        Literal["prometheus", "kubernetes"],
        typer.Option("--format", help="A rule file, or a PrometheusRule for the operator."),
    ] = "prometheus",
) -> None:
    """Write the alert rules for Prometheus, with the limits of the config.

    Write them again when the config changes: budget, intervals, deadlines, sinks and sources are
    in them. Rules that a config has no use for are named in the head of the file.
    """
    from vaeiso_monitor import __version__, settings
    from vaeiso_monitor.rules import Options, rulebook, to_yaml

    options = Options(job, runbooks, frozenset(without or ()), _labels(label or ()), speed)
    groups = rulebook(settings.load(config), options)
    head = f"Written by `vaeiso-monitor rules {config}`, version {__version__}: do not edit."
    text = to_yaml(groups, options, head, format_)
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


def _labels(pairs: list[str] | tuple[()]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or name in ("alertname", "severity"):
            msg = f"--label {pair}: give a name and a value, such as team=plant"
            raise ConfigError(msg)
        found[name] = value
    return found
