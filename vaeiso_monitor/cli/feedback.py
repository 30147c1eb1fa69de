"""``feedback``: say of an alert whether it was right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaeiso_monitor.cli.options import DEFAULT_CONFIG, ConfigOption
from vaeiso_monitor.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from vaeiso_monitor.lifecycle.history_rows import Verdict


def feedback(
    alert_id: Annotated[
        str, typer.Argument(metavar="ALERT_ID", help="An alert's id, or the beginning of it.")
    ],
    normal: Annotated[
        bool, typer.Option("--normal", help="The record was normal: training learns from it.")
    ] = False,
    anomaly: Annotated[
        bool, typer.Option("--anomaly", help="It was an anomaly: no training learns from it.")
    ] = False,
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", help="Why; kept with the verdict.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Say of an alert whether it was right; the last verdict stands.

    It is left as a request in the daemon's folder: a daemon that runs takes it up within a second
    or so, one that does not when it starts.
    """
    from vaeiso_monitor import settings
    from vaeiso_monitor.lifecycle import REQUESTS, Spool, checked

    if normal == anomaly:
        msg = "say either --normal or --anomaly"
        raise ConfigError(msg)
    folder = Path(settings.load(config).lifecycle.path)
    verdict: Verdict = "normal" if normal else "anomaly"
    found = _known(folder, alert_id)
    try:
        checked(body := {"alert_id": found or alert_id, "verdict": verdict, "note": note})
    except ValueError as error:
        raise ConfigError(str(error)) from error
    Spool(folder / REQUESTS).put("feedback", body)
    said = "normal: training learns from its record" if normal else "an anomaly: no training does"
    print(f"alert {body['alert_id']} is called {said}, as soon as the daemon reads this")
    if found is None:
        print(f"there is no alert history in {folder} yet, so the id was not looked up")


def _known(folder: Path, alert_id: str) -> str | None:
    """Return the full id; None where there is no history to look in, ConfigError for no such."""
    from vaeiso_monitor.lifecycle import HistoryReader

    try:
        reader = HistoryReader(folder)
    except TransientError:
        return None
    try:
        hits = reader.beginning_with(alert_id)
    finally:
        reader.close()
    if len(hits) == 1 or alert_id in hits:
        return hits[0]
    what = "no alert begins" if not hits else "several alerts begin"
    msg = (
        f"{what} with {alert_id!r} in the history in {folder} (the oldest and, in a flood, the "
        "least of many alerts are not remembered)"
    )
    raise ConfigError(msg)
