"""``retrain``: ask the daemon for a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaeiso_monitor.cli.options import DEFAULT_CONFIG, ConfigOption


def retrain(
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="The regime has changed for good: learn only from what was seen since it did, "
            "anomalous or not.",
        ),
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Ask the daemon to train a new model beside the scoring, which the gate then judges.

    It is left as a request in the daemon's folder: a daemon that runs takes it up within a second
    or so, one that does not when it starts. The log, the metrics and `models list` tell the rest.
    """
    from vaeiso_monitor import settings
    from vaeiso_monitor.lifecycle import REQUESTS, Spool

    folder = Path(settings.load(config).lifecycle.path)
    Spool(folder / REQUESTS).put("retrain", {"adopt": adopt})
    print("asked for a training; the daemon starts it as soon as it reads this")
