"""``run``: the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from vaeiso_monitor.cli.options import ConfigArgument
from vaeiso_monitor.cli.terminal import console, reporting


def run(
    config: ConfigArgument,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="Stop by itself after a time.")
    ] = None,
) -> None:
    """Run the daemon: read, score, alert, until the source ends or a signal stops it.

    With no bundle in the store it first collects [cold_start] min_records and trains. SIGTERM or
    Ctrl-C finishes what was read and stops; a second one ends at once. What was not committed is
    read again next time.
    """
    from vaeiso_monitor import app, settings
    from vaeiso_monitor.telemetry import configure_logging

    loaded = settings.load(config)
    configure_logging(loaded.log)
    stop = app.Stop(seconds)
    with reporting() as reporter:
        app.run(loaded, stop, reporter, _announce, config)


def _announce(url: str | None) -> None:
    if url is not None and console.is_terminal:
        console.print(f"metrics {url}/metrics   status {url}/api/v1/status   ready {url}/readyz")
