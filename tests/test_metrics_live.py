"""What a daemon at work exports: in order by promtool, and true while a sink is away."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import monitors
from tests.plain import anomaly, config, documents
from tests.promtool import promtool
from tests.test_app import append, run, serve
from tests.test_lifecycle_retraining import novice

if TYPE_CHECKING:
    from tests.test_app import Daemon, Run
    from vaeiso_monitor.bundle import Bundle

__all__ = ["novice", "run"]  # the fixtures

SINK = """
[[alerts.sinks]]
type = "alertmanager"
urls = ["http://127.0.0.1:{port}"]
deadline_seconds = 100
"""


def started(
    run: Run, folder: Path, bundle: Bundle, count: int, extra: str = ""
) -> tuple[Daemon, Path]:
    records = folder / "records.jsonl"
    append(records, documents(count))
    path = config(folder, records, follow=True, extra=extra)
    path.write_text(path.read_text().replace("latent_dim = 2", "latent_dim = 1"))
    serve(folder, bundle)
    daemon = run(path)
    daemon.wait_for(lambda: daemon.ready() and daemon.scored() == count)
    return daemon, records


def test_promtool_finds_no_fault_with_a_scrape(run, novice, tmp_path):
    daemon, _ = started(run, tmp_path, novice, 300)
    scrape = daemon.get("/metrics").text
    assert "vaeiso_records_scored_total 300" in scrape
    assert promtool("check", "metrics", text=scrape) == ""


@pytest.mark.skipif(
    bool(monitors.missing("prometheus-alertmanager")),
    reason=monitors.missing("prometheus-alertmanager") or "it is there",
)
def test_a_sink_that_is_away_is_seen_and_the_alert_arrives_later(
    run, novice, tmp_path, monkeypatch
):
    port = monitors.free_port()
    daemon, records = started(run, tmp_path, novice, 0, SINK.format(port=port))
    shows = 'vaeiso_sink_connected{sink="alertmanager"} '
    assert f"{shows}1.0" in daemon.get("/metrics").text
    append(records, [anomaly(300)])
    daemon.wait_for(lambda: f"{shows}0.0" in daemon.get("/metrics").text)
    assert "sink alertmanager is not connected" in daemon.get("/readyz").text

    monkeypatch.setattr(monitors, "free_port", lambda: port)
    with closing(monitors.Alertmanager(tmp_path / "am")) as alertmanager:
        [shown] = daemon.wait_for(alertmanager.alerts)
        assert shown["labels"]["alertname"] == "VaeisoAnomaly"
        assert shown["labels"]["entity"] == "p0"
        daemon.wait_for(daemon.ready)
        assert daemon.end() == 0
