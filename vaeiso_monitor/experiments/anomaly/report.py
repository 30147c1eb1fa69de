"""The table as a command makes it: runs, means, and three files that say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vaeiso_monitor.errors import ConfigError
from vaeiso_monitor.experiments.anomaly.chart import chart
from vaeiso_monitor.experiments.anomaly.results import Run
from vaeiso_monitor.experiments.anomaly.series import AnomalyConfig, Tell, run_series
from vaeiso_monitor.experiments.anomaly.table import Row, document, markdown, rows
from vaeiso_monitor.experiments.pictures import save
from vaeiso_monitor.experiments.records import write_json


@dataclass(frozen=True, slots=True)
class AnomalyTable:
    """The rows of the table and the runs that they are means of."""

    rows: list[Row]
    runs: list[Run]

    @property
    def short(self) -> list[Row]:
        """Return the rows whose mean F1 is below the published one."""
        return [row for row in self.rows if row.published is not None and row.f1 < row.published]


def run_anomaly(
    folder: Path, config: AnomalyConfig, *, device: torch.device, tell: Tell | None = None
) -> AnomalyTable:
    """Run a part of Table 3, except what ``folder`` holds already, and write it down there.

    results.jsonl gets a line for each run that ends; anomaly.json, .md and .png show all of the
    part that was asked for. Raises ConfigError for unknown names, for data that are not to be had,
    and where the folder cannot be written to.
    """
    runs = run_series(folder, config, device=device, tell=tell)
    table = AnomalyTable(rows(runs), runs)
    write_json(folder / "anomaly.json", document(table.rows, runs))
    _write(folder / "anomaly.md", markdown(table.rows))
    save(chart(table.rows), folder / "anomaly.png")
    return table


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}"
        raise ConfigError(msg) from error
