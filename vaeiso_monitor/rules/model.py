"""Rules about the model: is there one, is it young enough, does it still measure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from vaeiso_monitor.lifecycle import RetrainConfig, next_training
from vaeiso_monitor.rules.rule import LeftOut, Rule
from vaeiso_monitor.rules.terms import ONE, span
from vaeiso_monitor.telemetry import catalogue as m

if TYPE_CHECKING:
    from vaeiso_monitor.rules.terms import Terms

_BY_HAND = "retrain.enabled = false"
_CRON_TIMES = 60


def rules(t: Terms) -> Sequence[Rule | LeftOut]:
    """Return the rules of this group."""
    return (
        _warm_up(t),
        _stale(t),
        _failing(t),
        _rejected(t),
        _skipped(t),
        _altered(t),
        _bent(t),
        _moved(t),
        _unchecked(t, "IsometryCheckStale", "isometry"),
        _unchecked(t, "InputCheckStale", "inputs"),
    )


def _warm_up(t: Terms) -> Rule:
    window = t.window(1800)
    parts = {
        "warming_up": f"changes({t.of(m.WARMUP_ROWS)}[{window}]) > 0",
        "training": f"changes({t.of(m.TRAINING_PROGRESS)}[{window}]) > 0",
    }
    stuck = [f"({t.when(state)} unless {ONE} {moves})" for state, moves in parts.items()]
    return Rule(
        "WarmupStuck",
        "warning",
        "\nor ".join([*stuck, t.when("starting")]),
        t.wait(900),
        "{{ $labels.instance }} does not get to its first model",
        "It is {{ $labels.state }} and nothing has moved for a quarter of an hour. Nothing is "
        "scored before there is a model.",
    )


def _stale(t: Terms) -> Rule | LeftOut:
    retrain, trainer = t.settings.retrain, t.settings.trainer
    pause = longest_pause(retrain)
    if pause is None:
        return LeftOut("ModelStale", _BY_HAND)
    limit = 3 * pause + trainer.deadline_seconds
    return Rule(
        "ModelStale",
        "warning",
        f"{t.of(m.MODEL_AGE)} > {limit:g}",
        t.wait(300),
        "The model of {{ $labels.instance }} is old",
        "It was trained {{ $value | humanizeDuration }} ago, and a new one was due every "
        f"{span(pause)}. Trainings fail, are rejected, or do not start.",
    )


def longest_pause(config: RetrainConfig, now: float | None = None) -> float | None:
    """Return the longest time between two trainings that a config plans, None for never.

    Of a cron expression the next few dozen times are looked at, from ``now`` (Unix time) on.
    """
    if not config.enabled:
        return None
    if config.cron is None:
        return config.interval_seconds
    times = [time.time() if now is None else now]
    while len(times) < _CRON_TIMES and (due := next_training(config, times[-1], times[-1])):
        times.append(due)
    return max((later - earlier for earlier, later in pairwise(times[1:])), default=None)


def _failing(t: Terms) -> Rule:
    return Rule(
        "RetrainFailing",
        "warning",
        f"{t.of(m.RETRAIN_STREAK, status='failed')} >= 2",
        0,
        "Trainings of {{ $labels.instance }} fail",
        "{{ $value }} trainings in a row have failed. The model that serves goes on, and grows "
        "old. The log says why (training_ended); `/api/v1/status` shows the last one.",
    )


def _rejected(t: Terms) -> Rule:
    return Rule(
        "RetrainRejected",
        "warning",
        f"{t.of(m.RETRAIN_STREAK, status='rejected')} >= 2",
        0,
        "The gate rejects the new models of {{ $labels.instance }}",
        "{{ $value }} models in a row were trained and not let through. The one that serves is "
        "better on recent records, or the recent records are not what they were.",
    )


def _skipped(t: Terms) -> Rule | LeftOut:
    retrain = t.settings.retrain
    if not retrain.enabled:
        return LeftOut("SkippedModelRunsDetected", _BY_HAND)
    seconds = max(1800.0, 3 * retrain.retry_seconds)
    skipped = t.rise(m.RETRAINS, seconds, status="skipped", reason="!request")
    return Rule(
        "SkippedModelRunsDetected",
        "warning",
        f"{skipped} > 0",
        t.wait(3600),
        "A training of {{ $labels.instance }} is due and does not start",
        "For an hour trainings have been skipped. Most often there are fewer than "
        f"{retrain.min_records:,} records in the window (retrain.min_records).",
    )


def _altered(t: Terms) -> Rule:
    return Rule(
        "ModelAltered",
        "critical",
        f"{t.of(m.MODEL_ALTERED)} == 1",
        0,
        "The model of {{ $labels.instance }} is not the one that was trained",
        "On the reference records in its own bundle it measures otherwise than at training: its "
        "weights were changed, or the device computes wrongly. Its scores mean nothing.",
    )


def _bent(t: Terms) -> Rule:
    drift = t.settings.drift.isometry
    return Rule(
        "IsometryDegraded",
        "warning",
        f"{t.of(m.DRIFTED, kind='isometry')} == 1",
        0,
        "The latents of {{ $labels.instance }} no longer measure the data",
        f"In {drift.persistence} of {drift.of_checks} checks on recent normal records the norms, "
        "angles or scores were not those of the training. Scores and explanations become less "
        f'certain (drift.isometry.action = "{drift.action}").',
    )


def _moved(t: Terms) -> Rule:
    drift = t.settings.drift.inputs
    return Rule(
        "InputsDrifted",
        "warning",
        f"{t.of(m.DRIFTED, kind='inputs')} == 1",
        0,
        "The inputs of {{ $labels.instance }} have moved",
        f"In {drift.persistence} of {drift.of_checks} checks some features did not look as they "
        "did in training: vaeiso_input_drifted names them "
        f'(drift.inputs.action = "{drift.action}").',
    )


def _unchecked(t: Terms, name: str, kind: str) -> Rule:
    """Return the rule about a check that is not made, or for a day has had nothing to go by."""
    drift = t.settings.drift
    every = drift.isometry.interval_seconds if kind == "isometry" else drift.inputs.interval_seconds
    are = "is" if kind == "isometry" else "are"
    limit, day = 3 * every + 60, t.wait(86400)
    checked, loaded = t.of(m.DRIFT_CHECKED, kind=kind), t.of(m.MODEL_LOADED)
    judged = t.rise(m.DRIFT_CHECKS, 86400, kind=kind, outcome="!not_judged")
    return Rule(
        name,
        "warning",
        f"time() - ({checked} or {ONE} {loaded}) > {limit:g}\n"
        f"or\n({judged} == 0 and {ONE} (time() - {loaded} > {day:g}))",
        t.wait(300),
        f"The {kind} of {{{{ $labels.instance }}}} {are} not checked",
        f"A check is due every {span(every)}. None has been made for three times as long, or for "
        "a day none could be judged, for want of recent records or of a reference in the bundle.",
    )
