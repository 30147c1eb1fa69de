"""Which columns were to blame: counted from 0 on, for so many columns and no more."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from vaeiso_monitor.telemetry import Telemetry

NAME = "vaeiso_blamed_anomalies_total"


def lines(registry: CollectorRegistry) -> list[str]:
    scraped = generate_latest(registry).decode().splitlines()
    return [line for line in scraped if line.startswith(NAME)]


def test_a_column_is_there_before_it_is_blamed() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)
    telemetry.columns(["flow", "pressure"])
    assert lines(registry) == [f'{NAME}{{feature="flow"}} 0.0', f'{NAME}{{feature="pressure"}} 0.0']
    telemetry.anomalies_blamed({"flow": 3})
    telemetry.anomalies_blamed({"flow": 1})
    assert f'{NAME}{{feature="flow"}} 4.0' in lines(registry)


def test_columns_beyond_the_hundredth_share_a_series() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)
    telemetry.columns(f"c{i}" for i in range(150))
    telemetry.anomalies_blamed({"c0": 1, "c120": 2, "c140": 3})
    found = lines(registry)
    assert len(found) == 101
    assert f'{NAME}{{feature="c0"}} 1.0' in found
    assert f'{NAME}{{feature="(other)"}} 5.0' in found
