"""What came of a month as tables in Markdown, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.month_aims import Hours, rate

_DAY = 24.0
_WITH, _WITHOUT = "#1f6fb4", "#c2571a"


def tables(result: Mapping[str, Any]) -> str:
    """Return the tables: phase by phase, training by training, and the aims."""
    return "\n".join([*_phases(result), "", *_trainings(result), "", *_aims(result), ""])


def _phases(result: Mapping[str, Any]) -> list[str]:
    lines = [
        "| Phase | Days | Alert rate, healthy: with | without | Recall: with | without "
        "| Nats: with | without | Trainings: promoted, rejected |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for phase in result["phases"]:
        start, stop = phase["start"], phase["stop"]
        hours = result["hours"][start:stop]
        cells = [_percent(rate(hours, i)) for i in (0, 1)]
        cells += [_share(rate(hours, i, "found", "faulty")) for i in (0, 1)]
        cells += [_number(rate(hours, i, "nats")) for i in (0, 1)]
        done = [t["status"] for t in result["trainings"] if start < t["hour"] <= stop]
        cells.append(f"{done.count('promoted')}, {done.count('rejected')}")
        days = f"{start / _DAY:.1f} to {stop / _DAY:.1f}"
        lines.append(f"| {phase['name']} | {days} | {' | '.join(cells)} |")
    return lines


def _trainings(result: Mapping[str, Any]) -> list[str]:
    lines = [
        "| Day | Asked by | Verdict | Nats on what the gate held out | over the day after "
        "| Recall: candidate | model before |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in result["trainings"]:
        cells = [_number(each[name], "+.2f") for name in ("nats_difference", "day_after")]
        cells += [_share(each[name]) for name in ("finds", "champion_finds")]
        words = each["words"] if each["status"] != "promoted" else "accepted"
        words += ", to adopt the regime" if each["adopted"] else ""
        day = f"{each['hour'] / _DAY:.1f}"
        lines.append(f"| {day} | {each['reason']} | {words} | {' | '.join(cells)} |")
    return lines


def _aims(result: Mapping[str, Any]) -> list[str]:
    lines = ["| Aim | Met | Found |", "|---|---|---|"]
    lines += [
        f"| {aim['name']} | {'yes' if aim['met'] else '**no**'} | {aim['words']} |"
        for aim in result["aims"]
    ]
    return lines


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _number(value: float | None, form: str = ".1f") -> str:
    return "" if value is None else format(value, form)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw alert rate, recall, nats, isometry and what happened over the days of the month."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    hours = result["hours"]
    days = [hour["hour"] / _DAY for hour in hours]
    figure, axes = plt.subplots(
        5, 1, figsize=(13, 13), sharex=True, height_ratios=[3, 2, 2, 2, 1.6], layout="constrained"
    )
    _shade(axes, result["phases"])
    _alert_rates(axes[0], days, hours, result["budget"])
    _recalls(axes[1], days, hours)
    _nats(axes[2], days, hours)
    _isometries(axes[3], hours)
    _events(axes[4], result)
    for axis in axes[:4]:
        _versions(axis, result["trainings"])
    axes[-1].set_xlabel("days of scoring")
    axes[-1].set_xlim(0, len(hours) / _DAY)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _shade(axes: Any, phases: Sequence[Mapping[str, Any]]) -> None:
    for i, phase in enumerate(phases):
        for axis in axes:
            axis.axvspan(
                phase["start"] / _DAY,
                phase["stop"] / _DAY,
                color="#eef1f4" if i % 2 else "white",
                zorder=0,
            )
        middle = (phase["start"] + phase["stop"]) / 2 / _DAY
        axes[0].annotate(
            phase["name"],
            (middle, 1.02),
            xycoords=("data", "axes fraction"),
            ha="left",
            va="bottom",
            rotation=35,
            fontsize=9,
        )


def _both(
    axis: Any, days: Sequence[float], pairs: Sequence[tuple[float | None, float | None]]
) -> None:
    for which, colour, name in (
        (1, _WITHOUT, "first model, frozen"),
        (0, _WITH, "with the lifecycle"),
    ):
        values = [float("nan") if pair[which] is None else pair[which] for pair in pairs]
        axis.plot(days, values, color=colour, lw=1.1, label=name)


def _alert_rates(axis: Any, days: Sequence[float], hours: Hours, budget: float) -> None:
    floor = budget / 20
    pairs = []
    for hour in hours:
        rates = [rate([hour], i) for i in (0, 1)]
        pairs.append(tuple(None if r is None else max(r, floor) for r in rates))
    _both(axis, days, pairs)
    axis.axhspan(budget / 2, 2 * budget, color="#7cb77c", alpha=0.35, lw=0)
    axis.set_yscale("log")
    axis.set_ylabel("alert rate, healthy\n(green: budget, factor 2)")
    axis.legend(loc="lower right", fontsize=9)


def _recalls(axis: Any, days: Sequence[float], hours: Hours) -> None:
    _both(axis, days, [tuple(hour["probed"]) for hour in hours])
    axis.axhline(0.8, color="#7cb77c", lw=1.5)
    axis.set_ylim(0, 1.05)
    axis.set_ylabel("recall\n(probes of each hour)")


def _nats(axis: Any, days: Sequence[float], hours: Hours) -> None:
    _both(axis, days, [(rate([hour], 0, "nats"), rate([hour], 1, "nats")) for hour in hours])
    axis.set_ylabel("nats per record,\nhealthy")


def _isometries(axis: Any, hours: Hours) -> None:
    measured = [hour for hour in hours if hour["norm_error"] is not None]
    days = [hour["hour"] / _DAY for hour in measured]
    for name, style in (("norm_error", "-"), ("orthogonality_error", ":")):
        for which, colour in ((1, _WITHOUT), (0, _WITH)):
            values = [hour[name][which] for hour in measured]
            label = name.replace("_", " ") if which == 0 else None
            axis.plot(days, values, style, color=colour, lw=1.2, label=label)
    axis.set_ylabel("isometry: errors\non healthy records")
    axis.set_yscale("log")
    axis.legend(loc="lower right", fontsize=9)


def _versions(axis: Any, trainings: Sequence[Mapping[str, Any]]) -> None:
    for each in trainings:
        if each["status"] == "promoted":
            axis.axvline(each["hour"] / _DAY, color="#444444", lw=0.6, alpha=0.5, zorder=1)


def _events(axis: Any, result: Mapping[str, Any]) -> None:
    rows = ("regime shift", "input drift", "ruler drift", "rejected", "promoted")
    hours = result["hours"]
    states = (
        [h["regime"] for h in hours],
        [bool(h["inputs"]) for h in hours],
        [h["ruler"] for h in hours],
    )
    for row, state in enumerate(states):
        spans = [(h["hour"] / _DAY, 1 / _DAY) for h, on in zip(hours, state, strict=True) if on]
        axis.broken_barh(spans, (row - 0.35, 0.7), color="#8a5aa8", lw=0)
    for row, status, mark, colour in (
        (3, "rejected", "x", "#b01717"),
        (4, "promoted", "^", "#2a7a2a"),
    ):
        at = [t["hour"] / _DAY for t in result["trainings"] if t["status"] == status]
        axis.plot(at, [row] * len(at), mark, color=colour, ms=7)
    axis.set_yticks(range(len(rows)), rows)
    axis.set_ylim(-0.6, len(rows) - 0.4)
