"""Episodes of all entities: which alert is sent at once, and which is counted and summarised.

An alert is sent at once when its entity had none of its severity, or of a higher one, within
``cooldown_seconds``: the first of an episode, and the first critical one of it. When more than
``flood_entities`` entities come at once, the others are told as one: a flood.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from vaeiso_monitor.alerts.alert import Membership
from vaeiso_monitor.alerts.config import AlertsConfig
from vaeiso_monitor.alerts.episode import Episode, begun
from vaeiso_monitor.alerts.gate import Gate
from vaeiso_monitor.alerts.tally import Tally

if TYPE_CHECKING:
    from vaeiso_monitor.alerts.alert import Alert
    from vaeiso_monitor.alerts.summary import SummaryStatus
    from vaeiso_monitor.types import Message

log = structlog.get_logger(__name__)

_MAX_OPEN = 10_000
_SAVE_SECONDS = 1.0


@dataclass(slots=True)
class Told:
    """What goes to the sinks: ``every`` alert, and the ``brief`` for those that want episodes.

    ``cooled`` and ``flooded`` alerts are not in the brief: a summary will tell of them.
    """

    every: list[Alert] = field(default_factory=list)
    brief: list[Message] = field(default_factory=list)
    begun: int = 0
    cooled: int = 0
    flooded: int = 0


class _State(msgspec.Struct):
    """What survives a restart."""

    open: dict[str, Episode]
    flood: Episode | None = None


class Episodes:
    """Puts each alert into its episode and decides what is said of it, and when.

    The loop calls ``tell`` for the alerts of a batch, ``due`` about once a second and ``flush`` at
    the end, delivers what they return, and then calls ``save``: what was not delivered is told
    again after a restart. ``now`` is always Unix seconds. Without a ``path`` nothing is saved.
    """

    def __init__(self, config: AlertsConfig, path: Path | None = None) -> None:
        self._config = config
        self._path = path
        self._open: OrderedDict[str, Episode] = OrderedDict()
        self._flood: Episode | None = None
        self._announced: SummaryStatus | None = None
        self._gates = {
            severity: Gate(config.flood_entities, config.cooldown_seconds)
            for severity in ("warning", "critical")
        }
        self._changed = False
        self._saved = 0.0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._restore(path)

    @property
    def open(self) -> int:
        """Number of episodes that go on."""
        return len(self._open)

    @property
    def flooding(self) -> bool:
        """Whether so many entities raise alerts that they are told as one."""
        return self._flood is not None

    def tell(self, alerts: Sequence[Alert], now: float) -> Told:
        """Return the alerts of one batch, each in its episode, and the brief of them."""
        told = Told()
        for alert in alerts:
            told.every.append(self._admit(alert, now, told))
        if self._announced is not None and self._flood is not None:
            told.brief.append(self._flood.summary(self._announced, now))
        self._announced = None
        self._changed |= bool(alerts)
        return told

    def due(self, now: float) -> list[Message]:
        """Return the summaries for which it is time, and those of what is over."""
        brief: list[Message] = []
        cooldown, pause = self._config.cooldown_seconds, self._config.summary_seconds
        over = [key for key, each in self._open.items() if each.quiet(now, cooldown)]
        for key in over:
            self._end(self._open.pop(key), now, brief)
        brief += [
            each.summary("ongoing", now) for each in self._told_alone() if each.due(now, pause)
        ]
        if self._flood is not None and self._flood.quiet(now, cooldown):
            flood, self._flood = self._flood, None
            self._end(flood, now, brief)
        elif self._flood is not None and self._flood.due(now, pause):
            brief.append(self._flood.summary("ongoing", now))
        self._changed |= bool(brief or over)
        return brief

    def flush(self, now: float) -> list[Message]:
        """Return summaries of all that is still untold: the daemon is about to end."""
        brief: list[Message] = [each.summary("ongoing", now) for each in self._told_alone()]
        if self._flood is not None and self._flood.pending.alerts:
            brief.append(self._flood.summary("ongoing", now))
        self._changed |= bool(brief)
        return brief

    def save(self, now: float, *, at_once: bool = False) -> None:
        """Write down what changed, about once a second; what was told must be delivered by now."""
        if self._path is None or not self._changed:
            return
        if at_once or abs(now - self._saved) >= _SAVE_SECONDS:
            self._changed, self._saved = False, now
            beside = self._path.with_name(f"{self._path.name}.new")
            state = _State(self._open, self._flood)
            beside.write_bytes(msgspec.json.encode(state, enc_hook=str))
            beside.replace(self._path)

    def _told_alone(self) -> list[Episode]:
        """Return the episodes with something to tell; those of a flood are told with it."""
        return [each for each in self._open.values() if each.pending.alerts]

    def _admit(self, alert: Alert, now: float, told: Told) -> Alert:
        key = _key(alert)
        episode = self._open.get(key)
        if episode is not None and episode.quiet(now, self._config.cooldown_seconds):
            self._end(self._open.pop(key), now, told.brief)
            episode = None
        critical = alert.severity == "critical"
        urgent = episode is None or (critical and episode.calm(now, self._config.cooldown_seconds))
        if episode is None:
            episode = self._begin(key, alert, now, told)
        else:
            self._open.move_to_end(key)
        episode.note(alert, now)
        member = Membership(episode.id, episode.first_event_time, episode.count)
        alert = msgspec.structs.replace(alert, episode=member)
        if urgent and self._passes(key, alert, now):
            told.brief.append(alert)
        elif urgent or (self._flood is not None and episode.flood == self._flood.id):
            self._hold_in_flood(episode, alert, now)
            told.flooded += 1
        else:
            episode.pending.add(alert)
            told.cooled += 1
        return alert

    def _begin(self, key: str, alert: Alert, now: float, told: Told) -> Episode:
        if len(self._open) >= _MAX_OPEN:
            _, oldest = self._open.popitem(last=False)
            self._end(oldest, now, told.brief)
        told.begun += 1
        episode = self._open[key] = begun(alert, now)
        return episode

    def _passes(self, key: str, alert: Alert, now: float) -> bool:
        gate = self._gates[alert.severity]
        was_closed = gate.closed(now)
        passes = gate.passes(key, now)
        if not passes and not was_closed and self._flood is not None:
            self._announced = "ongoing"  # a flood of warnings has turned critical
        return passes

    def _hold_in_flood(self, episode: Episode, alert: Alert, now: float) -> None:
        flood = self._flood
        if flood is None:
            flood = self._flood = begun(alert, now, "flood")
            self._announced = "started"
        if episode.flood != flood.id:
            episode.flood = flood.id
            flood.entities += 1
            flood.pending.take(episode.pending)
            episode.pending = Tally()
        flood.note(alert, now)
        flood.pending.add(alert)

    def _end(self, episode: Episode, now: float, brief: list[Message]) -> None:
        """Tell that it is over, unless all that there was to tell was the first alert."""
        if episode.pending.alerts or (episode.summaries and episode.flood is None):
            brief.append(episode.summary("ended", now))

    def _restore(self, path: Path) -> None:
        try:
            state = msgspec.json.decode(path.read_bytes(), type=_State)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.warning("episodes_forgotten", path=str(path), error=str(error))
            return
        self._open.update(islice(state.open.items(), _MAX_OPEN))
        self._flood = state.flood


def _key(alert: Alert) -> str:
    """Return what tells entities apart; alerts without an entity share one episode."""
    if not alert.entity:
        return ""
    value = next(iter(alert.entity.values()))
    return value if isinstance(value, str) else repr(value)
