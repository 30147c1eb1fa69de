"""Whether a month went as it should: the aims, each with what was found in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

RECALL = 0.8
FACTOR = 2.0  # of the budget
LOST = 0.05  # a candidate that finds so much less than the model before is a bad one
SETTLED_WITHIN = 24  # hours after a change of regime, and in all after a drift
WINDOW = 24  # hours over which a rate is taken: an hour has too few records for a small budget
BIT = 0.1  # nats per record; what chance does to a mean over a day

Hours = Sequence[Mapping[str, Any]]


def aims(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each aim of the month: its name, whether it was met, and why."""
    return [_recall(result), _alert_rate(result), _poison(result), _nats(result)]


def rate(hours: Hours, which: int, found: str = "false", of: str = "healthy") -> float | None:
    """Return the share over ``hours`` with (0) or without (1) the lifecycle; None of nothing."""
    total = sum(hour[of] for hour in hours)
    return sum(hour[found][which] for hour in hours) / total if total else None


def settled(hours: Hours, limit: float, which: int = 0, window: int = WINDOW) -> int | None:
    """Return after how many hours every window's alert rate is within ``limit``; None: never."""
    starts = range(max(len(hours) - window, 0) + 1)
    rates = [rate(hours[start : start + window], which) or 0.0 for start in starts]
    over = [start for start, each in enumerate(rates) if each > limit]
    if not over:
        return 0
    return None if over[-1] == starts[-1] else over[-1] + 1


def changes(result: Mapping[str, Any]) -> list[tuple[str, Hours]]:
    """Return the phases that follow a legitimate change, with their hours up to the next change."""
    phases = result["phases"]
    found = []
    for i, phase in enumerate(phases):
        begins = phase["drifts"] or (phase["renewed"] and not any(p["renewed"] for p in phases[:i]))
        if begins:
            stop = next(
                (p["start"] for p in phases[i + 1 :] if p["renewed"] or p["broken"] or p["drifts"]),
                phases[-1]["stop"],
            )
            if phase["renewed"]:
                stop = next((p["start"] for p in phases[i:] if p["broken"]), phases[-1]["stop"])
            found.append((phase["name"], result["hours"][phase["start"] : stop]))
    return found


def _recall(result: Mapping[str, Any]) -> dict[str, Any]:
    hours = result["hours"]
    first = {stretch[0]["hour"] for name, stretch in changes(result) if _renewed(result, name)}
    counted = [hour for hour in hours if hour["hour"] not in first]
    days = [counted[i : i + WINDOW] for i in range(max(len(counted) - WINDOW, 0) + 1)]
    daily = [r for day in days if (r := rate(day, 0, "found", "faulty")) is not None]
    lowest, probed = min(daily, default=1.0), min((h["probed"][0], h["hour"]) for h in counted)
    below = sum(hour["probed"][0] < RECALL for hour in counted)
    words = (
        f"of the faults in the stream at least {lowest:.3f} of any day were found, of the probes "
        f"at least {probed[0]:.3f} of any hour (hour {probed[1]}; {below} hours under {RECALL})"
    )
    return {"name": "recall", "met": lowest >= RECALL and probed[0] >= RECALL, "words": words}


def _renewed(result: Mapping[str, Any], name: str) -> bool:
    return any(phase["name"] == name and phase["renewed"] for phase in result["phases"])


def _alert_rate(result: Mapping[str, Any]) -> dict[str, Any]:
    limit, words, met = FACTOR * result["budget"], [], True
    for name, stretch in changes(result):
        with_, without = settled(stretch, limit, 0), settled(stretch, limit, 1)
        words.append(f"{name}: {_after(with_)}, without the lifecycle {_after(without)}")
        length = next(p["hours"] for p in result["phases"] if p["name"] == name)
        allowed = SETTLED_WITHIN + (0 if _renewed(result, name) else length)
        met &= with_ is not None and with_ <= allowed
    return {"name": "alert rate", "met": met, "words": "; ".join(words)}


def _after(hours: int | None) -> str:
    return "never" if hours is None else "at once" if hours == 0 else f"after {hours} h"


def _poison(result: Mapping[str, Any]) -> dict[str, Any]:
    spans = [(p["start"], p["stop"]) for p in result["phases"] if p["poisoned"]]
    judged = [
        t
        for t in result["trainings"]
        if t["finds"] is not None and any(a < t["hour"] <= b for a, b in spans)
    ]
    bad = [t for t in judged if t["finds"] < max(RECALL, (t.get("champion_finds") or 0.0) - LOST)]
    let_in = [t for t in bad if t["status"] == "promoted"]
    finds = ", ".join(f"{t['finds']:.2f} ({t['status']})" for t in judged) or "none"
    before = max((t.get("champion_finds") or 0.0 for t in judged), default=0.0)
    words = (
        f"recall that the candidates of the poisoned window would have had: {finds}; the model "
        f"before: {before:.2f}"
    )
    return {"name": "poison", "met": bool(bad) and not let_in, "words": words}


def _nats(result: Mapping[str, Any]) -> dict[str, Any]:
    promoted = [t for t in result["trainings"] if t["status"] == "promoted"]
    known = [t for t in promoted if t["nats_difference"] is not None]
    worse = [t for t in known if t["nats_difference"] > 0]
    after = [t for t in promoted if (t["day_after"] or 0.0) > BIT]
    words = (
        f"{len(promoted)} were promoted, {len(worse)} of them with worse nats on what the gate "
        f"held out; {len(after)} were worse by more than {BIT} over the day that followed"
    )
    words += "".join(f" (hour {t['hour']:.0f}: {t['day_after']:+.2f})" for t in after)
    return {"name": "nats", "met": not worse, "words": words}
