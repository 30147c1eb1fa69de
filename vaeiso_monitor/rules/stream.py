"""Rules about the stream: do records come, are they scored, do alerts go out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaeiso_monitor.rules.process import ends
from vaeiso_monitor.rules.rule import LeftOut, Rule
from vaeiso_monitor.rules.terms import ONE, span
from vaeiso_monitor.sinks import FileSinkConfig, StdoutSinkConfig
from vaeiso_monitor.sources import FileSourceConfig, KafkaSourceConfig, PlantConfig
from vaeiso_monitor.telemetry import catalogue as m

if TYPE_CHECKING:
    from vaeiso_monitor.rules.terms import Terms

_NO_PEER = "the source is no peer that could be lost"
_STALLED_SECONDS = 300.0


def rules(t: Terms) -> Sequence[Rule | LeftOut]:
    """Return the rules of this group."""
    return (
        _disconnected(t),
        _read_errors(t),
        _write_errors(t),
        _stalled(t),
        _lag(t),
        _not_scored(t),
        _nothing_comes(t),
        _dead_letters(t),
    )


def _disconnected(t: Terms) -> Rule | LeftOut:
    source = t.settings.source
    if not isinstance(source, KafkaSourceConfig):
        return LeftOut("SourceDisconnected", _NO_PEER)
    deadline = source.outage_deadline_seconds  # then the daemon ends, and its series with it
    return Rule(
        "SourceDisconnected",
        "critical",
        f"{t.of(m.SOURCE_CONNECTED)} == 0",
        t.wait(min(120.0, deadline / 3)),
        "{{ $labels.instance }} has lost {{ $labels.source }}",
        "No broker has been heard: nothing is read. After "
        f"{span(deadline)} of silence (source.outage_deadline_seconds) the daemon ends, to be "
        "restarted.",
    )


def _read_errors(t: Terms) -> Rule | LeftOut:
    if not isinstance(t.settings.source, KafkaSourceConfig):
        return LeftOut("HighReadErrorRate", _NO_PEER)
    return Rule(
        "HighReadErrorRate",
        "warning",
        f"{t.rise(m.SOURCE_ERRORS, 300)} > 3\nunless {ONE} ({t.of(m.SOURCE_CONNECTED)} == 0)",
        t.wait(600),
        "{{ $labels.instance }} reads from Kafka with errors",
        '{{ printf "%.0f" $value }} exchanges with Kafka failed within five minutes, and this '
        "has gone on for ten. They are repeated, so nothing is lost, but records come late.",
    )


def _write_errors(t: Terms) -> Rule | LeftOut:
    """Return the rule about sinks; a mean, for the daemon restarts while a sink is away."""
    sinks = (*t.settings.alerts.sinks, *t.settings.dead_letters.sinks)
    if all(isinstance(sink, FileSinkConfig | StdoutSinkConfig) for sink in sinks):
        return LeftOut("HighWriteErrorRate", "a file or terminal that fails ends the daemon")
    return Rule(
        "HighWriteErrorRate",
        "critical",
        f"avg_over_time({t.of(m.SINK_CONNECTED)}[{t.window(300)}]) < 0.5",
        t.wait(60),
        "{{ $labels.instance }} cannot deliver to {{ $labels.sink }}",
        "The sink {{ $labels.sink }} takes nothing. The stream waits for it, so no alert is lost, "
        "but none arrives. The daemon ends at the sink's deadline and tries again when restarted.",
    )


def _stalled(t: Terms) -> Rule | LeftOut:
    if isinstance(t.settings.source, PlantConfig) or ends(t):
        return LeftOut("ConsumerStalled", "the source does not wait for anyone")
    return Rule(
        "ConsumerStalled",
        "critical",
        f"{t.of(m.PROGRESS_AGE)} > {_STALLED_SECONDS:g}\n"
        f"unless {ONE} ({t.of(m.SOURCE_CONNECTED)} == 0)\n"
        f"unless {ONE} ({t.when('training')})",
        t.wait(60),
        "{{ $labels.topic }}/{{ $labels.partition }} has records and does not move",
        "{{ $labels.instance }} is alive and connected, but partition {{ $labels.partition }} of "
        "{{ $labels.topic }} has had records to read for {{ $value | humanizeDuration }} and "
        "none was read.",
    )


def _lag(t: Terms) -> Rule | LeftOut:
    if isinstance(t.settings.source, FileSourceConfig) or ends(t):
        return LeftOut("ConsumerLagGrowing", "the source does not know how much is left")
    lag = f"sum by (job) ({t.of(m.CONSUMER_LAG)}"
    arriving = f"rate({t.of(m.RECORDS_RECEIVED)}[{t.window(900)}])"
    return Rule(
        "ConsumerLagGrowing",
        "warning",
        f"{lag}) > 1.1 * {lag} offset {t.window(900)})\n"
        f"and {lag}) > 60 * sum by (job) ({arriving})\n"
        f"unless on (job) ({t.when('training')})",
        t.wait(900),
        f"{t.options.job} falls behind its stream",
        "{{ $value | humanize }} records wait, more than are read in a minute, and for half an "
        "hour they have become more. Alerts come later and later.",
    )


def _not_scored(t: Terms) -> Rule:
    received, scored = t.rate(m.RECORDS_RECEIVED, 300), t.rate(m.RECORDS_SCORED, 300)
    return Rule(
        "RecordsNotScored",
        "critical",
        f"{received} > 0\nand {ONE} ({scored} == 0)\nand {ONE} ({t.when('running')})",
        t.wait(300),
        "{{ $labels.instance }} reads records and scores none",
        "{{ $value | humanize }} records a second come in and not one is scored. Most often a "
        "producer changed its format, and all of them are rejected.",
    )


def _nothing_comes(t: Terms) -> Rule | LeftOut:
    """Return the rule about silence; of the job as a whole, for a standby member reads nothing."""
    if ends(t):
        return LeftOut("NoRecordsArriving", "the source ends")
    hour = t.window(3600)
    came = f"sum by (job) (increase({t.of(m.RECORDS_RECEIVED)}[{hour}]))"
    there = f"sum by (job) ({t.of('up')})"
    return Rule(
        "NoRecordsArriving",
        "warning",
        f"({came} or 0 * {there}) == 0\nand on (job) ({there} > 0)",
        t.wait(900),
        f"{t.options.job} gets no records",
        "Not one record has come for an hour. If this stream is quiet at times, leave this rule "
        "out (`vaeiso-monitor rules --without NoRecordsArriving`).",
    )


def _dead_letters(t: Terms) -> Rule:
    rejected, scored = t.rate(m.RECORDS_REJECTED, 600), t.rate(m.RECORDS_SCORED, 600)
    return Rule(
        "DeadLettersArriving",
        "warning",
        f"{rejected}\n/ {ONE} ({rejected} + {ONE} {scored})\n> 0.01",
        t.wait(600),
        "{{ $labels.instance }} rejects records",
        "{{ $value | humanizePercentage }} of the records do not fit the schema. They are in the "
        "dead letters, with the reason, and nobody watches over what they say.",
    )
