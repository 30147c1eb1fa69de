"""What Prometheus and Alertmanager say while things are done to the daemon, told at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.monitors import Alertmanager, Prometheus

_OWN = "Vaeiso"  # how the alerts begin that the daemon sends to Alertmanager by itself


@dataclass(frozen=True)
class Act:
    """One thing that is done, and the rules that must fire because of it.

    Rules in ``lasts_on`` look so far back that they resolve long after, and may resolve and fire
    again while the daemon is away; they are waited for last. Those in ``may`` fire or not. ``says``
    is what the daemon must tell Alertmanager by itself, beside the rules.
    """

    name: str
    what: str
    expected: frozenset[str]
    lasts_on: frozenset[str] = frozenset()
    says: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()


@dataclass
class Spell:
    """One time that a rule fired: seconds since the watch began."""

    rule: str
    fired: float
    held_by_alertmanager: float | None = None
    resolved: float | None = None
    let_go_by_alertmanager: float | None = None


@dataclass
class Span:
    """When an act began and ended, and when its rules had resolved."""

    began: float
    ended: float = 0.0
    over: float = 0.0
    said: set[str] = field(default_factory=set)  # by the daemon's own sink


class Watch:
    """Looks twice a second, and remembers what came and went."""

    def __init__(self, prometheus: Prometheus, alertmanager: Alertmanager) -> None:
        self._prometheus, self._alertmanager = prometheus, alertmanager
        self._started = time.monotonic()
        self.spells: list[Spell] = []
        self.spans: dict[str, Span] = {}
        self.calm_at = 0.0

    @property
    def now(self) -> float:
        return round(time.monotonic() - self._started, 1)

    def act(
        self, act: Act, begin: Callable[[], None], end: Callable[[], None], patience: float
    ) -> None:
        """Do one thing until its rules have fired, undo it, and wait until they have resolved."""
        span = self.spans[act.name] = Span(self.now)
        begin()
        told = act.expected | act.says
        self._look_until(lambda: told <= self._held() | span.said, patience, f"{told} come")
        span.ended = self.now
        end()
        waited = act.expected - act.lasts_on
        self._look_until(lambda: not waited & self._open(), patience, f"{waited} resolve")
        span.over = self.now

    def until_calm(self, patience: float, what: str) -> None:
        self._look_until(lambda: not self._open(), patience, what)
        self.calm_at = self.calm_at or self.now

    def look_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()

    def _look_until(self, holds: Callable[[], bool], patience: float, what: str) -> None:
        end = time.monotonic() + patience
        self._look()
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {patience:g} s: {what}; open: {self._open()}")
            self._look()

    def _look(self) -> None:
        time.sleep(0.5)
        firing, held = self._prometheus.firing(), self._names()
        for span in self.spans.values():
            if not span.over:
                span.said |= {name for name in held if name.startswith(_OWN)}
        going = {spell.rule: spell for spell in self.spells if spell.let_go_by_alertmanager is None}
        for rule in firing - set(going):
            self.spells.append(Spell(rule, self.now))
            print(f"{self.now:7.1f} s  {rule} fires", flush=True)
        for rule, spell in going.items():
            self._follow(spell, rule in firing, rule in held)

    def _follow(self, spell: Spell, firing: bool, held: bool) -> None:
        if held and spell.held_by_alertmanager is None:
            spell.held_by_alertmanager = self.now
        if firing:
            spell.resolved = None  # it had not been over
        elif spell.resolved is None:
            spell.resolved = self.now
            print(f"{self.now:7.1f} s  {spell.rule} is resolved", flush=True)
        if spell.resolved is not None and not held:
            spell.let_go_by_alertmanager = self.now

    def _names(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self._alertmanager.alerts()}

    def _open(self) -> set[str]:
        return {spell.rule for spell in self.spells if spell.let_go_by_alertmanager is None}

    def _held(self) -> set[str]:
        known = (s for s in self.spells if s.let_go_by_alertmanager is None)
        return {spell.rule for spell in known if spell.held_by_alertmanager is not None}


@dataclass(frozen=True)
class Report:
    """What was seen, for programs and for people."""

    as_json: dict[str, Any]
    as_markdown: str
    as_expected: bool


def report(watch: Watch, acts: Sequence[Act], speed: float) -> Report:
    """Return the account; spells from before the calm belong to the start and are left out."""
    spells = [spell for spell in watch.spells if spell.fired >= watch.calm_at]
    lines, rows, right = [], [], True
    lasting: frozenset[str] = frozenset()
    for act in acts:
        span = watch.spans[act.name]
        within = [spell for spell in spells if _in(spell, span)]
        fired, allowed = {spell.rule for spell in within}, act.expected | act.may | lasting
        right &= act.expected <= fired <= allowed and act.says <= span.said
        rows.append(_row(act, span, within))
        lines += [_line(act, span, spell, allowed) for spell in within]
        lines += [f"| {act.what} | **{rule}, never** | | | |" for rule in act.expected - fired]
        if span.said:
            said = ", ".join(sorted(span.said))
            lines.append(f"| | told by the daemon itself: {said} | | | |")
        lasting |= act.lasts_on
    between = [s for s in spells if not any(_in(s, watch.spans[act.name]) for act in acts)]
    right &= {spell.rule for spell in between} <= lasting
    lines += [f"| nothing | {spell.rule} (at {spell.fired:g} s) | | | |" for spell in between]
    text = _HEAD.format(speed=speed) + "\n".join(lines) + "\n"
    outside = [vars(spell) for spell in between]
    found = {"speed": speed, "as_expected": right, "acts": rows, "outside": outside}
    return Report(found, text, right)


_HEAD = """\
Times in seconds; waiting times and windows of the rules {speed:g} times shorter than they are.

| what was done | rule | fires after | in Alertmanager after | when undone, resolved after |
|---|---|---|---|---|
"""


def _in(spell: Spell, span: Span) -> bool:
    return span.began <= spell.fired <= span.over


def _row(act: Act, span: Span, spells: Sequence[Spell]) -> dict[str, Any]:
    return {
        "act": act.name,
        "what": act.what,
        "began": span.began,
        "ended": span.ended,
        "expected": sorted(act.expected),
        "said_by_the_daemon": sorted(span.said),
        "spells": [vars(spell) for spell in spells],
    }


def _line(act: Act, span: Span, spell: Spell, allowed: frozenset[str]) -> str:
    mark = "" if spell.rule in allowed else " (not expected)"
    held, over = spell.held_by_alertmanager, spell.resolved
    shown = "never" if held is None else f"{held - span.began:.0f}"
    gone = "never" if over is None else f"{over - span.ended:.0f}"
    return (
        f"| {act.what} | {spell.rule}{mark} | {spell.fired - span.began:.0f} | {shown} | {gone} |"
    )
