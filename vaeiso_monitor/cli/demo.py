"""``demo``: the daemon on a simulated pumping station, with a reckoning at the end."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vaeiso_monitor.cli.terminal import console, reporting
from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.sources import PlantConfig
    from vaeiso_monitor.telemetry import Status

_MARK = ".vaeiso-demo"  # only a folder that has it is ever emptied

_HISTORY = 40_000  # records, four weeks; a quarter of them settles an alert budget of 0.001

_CONFIG = """\
# The demo's config, as `vaeiso-monitor run` would take it.
[source]
type = "plant"             # a simulated pumping station
rate_per_second = {rate}
history_records = {history}     # there at once, as a topic with a past would have them
faults_after = {healthy}        # healthy so far, and a little longer; then about 2 % are faulty

[cold_start]
min_records = {history}

[model]
betas = [0.1, 0.3]

[training]
max_steps = {steps}
held_out = "blocks"        # neighbours in a stream are alike: hold out whole runs of them
held_out_share = 0.25

[threshold]
alert_budget = 0.001

[store]
path = "{state}/store"

[lifecycle]
path = "{state}"

[alerts]                   # the station's clock runs fast, so do these
cooldown_seconds = 1       # the first alert of an episode is printed at once,
summary_seconds = 10       # the others are counted and summarised

[[alerts.sinks]]
type = "stdout"            # the episodes, for people

[[alerts.sinks]]
type = "file"              # every alert, for programs
path = "{state}/alerts.jsonl"
max_bytes = 0

[[dead_letters.sinks]]
type = "file"
path = "{state}/dead_letters.jsonl"

[server]
port = {port}

[log]
level = "warning"
format = "console"

{schema}"""


def demo(
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="End by itself after a time.")
    ] = None,
    rate: Annotated[float, typer.Option("--rate", min=1, help="Records per second.")] = 200.0,
    state: Annotated[
        Path, typer.Option("--state", help="Folder for config, bundles and alerts; made anew.")
    ] = Path("demo-state"),
    port: Annotated[
        int, typer.Option("--port", help="Port of the web server; 0 takes a free one.")
    ] = 0,
) -> None:
    """Watch a simulated pumping station: cold start, training, live alerts, a summary at the end.

    Everything is real but the station: the config it runs is written to STATE/demo.toml.
    """
    from vaeiso_monitor import app, settings
    from vaeiso_monitor.sources.plant import PLANT_SCHEMA, PlantConfig
    from vaeiso_monitor.telemetry import configure_logging

    path = _prepare(state)
    path.write_text(
        _CONFIG.format(
            rate=rate,
            history=_HISTORY,
            healthy=_HISTORY + round(5 * rate),  # what comes while the history is read trains too
            steps=2000,
            state=state,
            port=port,
            schema=PLANT_SCHEMA,
        )
    )
    loaded = settings.load(path)
    configure_logging(loaded.log)
    console.print(f"A pumping station sends {rate:g} records a second. Config: {path}")
    with reporting() as reporter:
        status = app.run(loaded, app.Stop(seconds), reporter, _announce)
    assert isinstance(loaded.source, PlantConfig)
    _summarise(loaded.source, status, state / "alerts.jsonl")


def _prepare(state: Path) -> Path:
    if state.exists() and any(state.iterdir()) and not (state / _MARK).exists():
        msg = f"--state {state}: the folder holds something else; name a new one"
        raise ConfigError(msg)
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    (state / _MARK).touch()
    return state / "demo.toml"


def _announce(url: str | None) -> None:
    console.print(f"Open {url}/ in a browser. Ctrl-C stops.")


@dataclass(frozen=True, slots=True)
class Reckoning:
    """How the alerts compare with the faults that were injected."""

    records: int
    faulty: int
    hits: int
    false_alarms: int
    caught: Counter[str]
    injected: Counter[str]

    @property
    def precision(self) -> float:
        """Share of the alerts that are faults."""
        return self.hits / max(self.hits + self.false_alarms, 1)

    @property
    def recall(self) -> float:
        """Share of the faulty records that raised an alert."""
        return self.hits / max(self.faulty, 1)

    @property
    def false_alarm_rate(self) -> float:
        """Share of the healthy records that raised an alert: what the budget promises."""
        return self.false_alarms / max(self.records - self.faulty, 1)


def reckon(plant: PlantConfig, records: int, alerts: Path) -> Reckoning:
    """Compare an alert file with the truth about the first ``records`` of ``plant``."""
    from vaeiso_monitor.sources.plant import PlantSource

    truth = PlantSource(plant).truth_between(0, records)
    flagged = set()
    if alerts.exists():
        with alerts.open("rb") as lines:
            found = map(json.loads, lines)
            flagged = {each["source"]["offset"] for each in found if each["type"] == "alert"}
    injected = Counter(fault for fault in truth if fault is not None)
    caught = Counter(fault for i in flagged if (fault := truth[i]) is not None)
    hits = caught.total()
    return Reckoning(records, injected.total(), hits, len(flagged) - hits, caught, injected)


def _summarise(plant: PlantConfig, status: Status, alerts: Path) -> None:
    if status.model is None:
        console.print("Stopped before the first model was trained; nothing was scored.")
        return
    found = reckon(plant, status.records.scored + status.records.rejected, alerts)
    table = Table(title="What happened", show_header=False)
    table.add_row("records", f"{found.records:,} ({status.records.rejected:,} rejected)")
    table.add_row("faulty records", f"{found.faulty:,}")
    table.add_row("alerts", f"{found.hits + found.false_alarms:,}")
    table.add_row("precision", f"{found.precision:.3f}")
    table.add_row("recall", f"{found.recall:.3f}")
    table.add_row(
        "alerts on healthy records",
        f"{found.false_alarm_rate:.3%} (budget {status.model.alert_budget:.3%})",
    )
    for fault, count in sorted(found.injected.items()):
        table.add_row(f"  {fault}", f"{found.caught[fault]:,} of {count:,} records")
    console.print(table)
    console.print(
        f"alerts: {alerts}   why: vaeiso-monitor explain -c {alerts.parent}/demo.toml ALERT_ID"
    )
