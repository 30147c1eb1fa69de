"""One strand of the window: rows of one kind on disk, spread over its time within a quota."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa

from vaeiso_monitor.lifecycle.window_buffer import table_of
from vaeiso_monitor.lifecycle.window_pace import Pace, planned_share
from vaeiso_monitor.lifecycle.window_segments import About, Segment, Segments, Tally, by_slot
from vaeiso_monitor.lifecycle.window_thinning import level, survivors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaeiso_monitor.lifecycle.window_buffer import Buffer, Part
    from vaeiso_monitor.lifecycle.window_rows import Layout

_FAN_IN = 8  # so many segments of a slot become one
_SLACK = 0.9  # over the quota rows are given up down to this share of it, so not at every write

Weigh = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


class Strand:
    """Segments of one kind, in slots of ``slot_seconds``.

    Every slot may have as many rows as every other, times what ``weigh`` gives its age [s] in
    slots; what a quiet slot does not need is shared by the others. Not safe for several threads.
    """

    def __init__(
        self,
        kind: str,
        *,
        segments: Segments,
        layout: Layout,
        buffer: Buffer,
        slot_seconds: float,
        weigh: Weigh,
        rng: np.random.Generator,
    ) -> None:
        self.kind = kind
        self.held: list[Segment] = []
        self._segments = segments
        self._layout = layout
        self._buffer = buffer
        self._slot_seconds = slot_seconds
        self._weigh = weigh
        self._rng = rng
        self._slot: int | None = None
        self._pace = Pace(1.0, 0.0)

    @property
    def rows(self) -> int:
        """Rows on disk."""
        return sum(segment.about.rows for segment in self.held)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self.held)

    @property
    def tally(self) -> Tally:
        """What happened to the records that came while the rows on disk were gathered."""
        return sum((segment.about.tally for segment in self.held), Tally())

    def adopt(self, found: list[Segment], now: float) -> None:
        """Take over those segments of a former run that are of this kind."""
        self.held = [segment for segment in found if segment.about.kind == self.kind]
        newest = max(self.held, key=lambda segment: segment.about.last, default=None)
        if newest is not None and newest.about.slot == self._slot_of(now):
            self._slot = newest.about.slot
            self._set_share(newest.about.share, now)

    def write(self, now: float, quota: int) -> None:
        """Write what the buffer gathered; OSError where the disk refuses, the rows are lost."""
        parts, tally = self._buffer.take()
        rows = sum(map(len, parts))
        slots: dict[int, list[Part]] = {}
        for part in parts:
            slots.setdefault(self._slot_of(part.seen), []).append(part)
        try:
            for slot, members in sorted(slots.items()):
                table, share = table_of(members, self._layout), members[-1].share
                self._put(table, slot, tally, share, sync=False)
                tally, rows = Tally(), rows - sum(map(len, members))
        finally:
            self._buffer.carry(tally + Tally(not_written=rows))
        self._steer(now, quota, sum(map(len, parts)))

    def put(self, table: pa.Table, now: float) -> None:
        """Write a table of rows that were all seen just now."""
        self._put(table, self._slot_of(now), Tally(received=table.num_rows), 1.0, sync=True)

    def read(self) -> pa.Table:
        """Return all rows, oldest segment first; what is damaged is set aside and missing."""
        return self._read(self.held)[0]

    def expire(self, before: float, after: float) -> None:
        """Remove segments that ended before one instant or begin after another."""
        self._remove([s for s in self.held if s.about.last < before or s.about.first > after])

    def gather(self, now: float) -> None:
        """Make few segments of many: one of a slot that is over, an eighth of the current one's."""
        current = self._slot_of(now)
        for slot, members in list(by_slot(self.held)):
            if slot < current and len(members) > 1:
                self._rewrite(members)
                continue
            for height in range(max(segment.about.level for segment in members) + 1):
                alike = [segment for segment in members if segment.about.level == height]
                if len(alike) >= _FAN_IN:
                    self._rewrite(alike)

    def thin(self, now: float, quota: int) -> None:
        """Give up rows where there are more than the quota."""
        if self.rows <= quota:
            return
        current = self._slot_of(now)
        slots = list(by_slot(self.held))
        rows, weights = self._shape(slots, current)
        water = level(rows, weights, _SLACK * quota)
        for (slot, members), have, weight in zip(slots, rows, weights, strict=True):
            allowed = int(water * weight)
            if have > allowed:
                # the current slot goes on filling: like this it is cut seldom
                share = self._rewrite(members, allowed // 2 if slot == current else allowed)
                if slot == current:
                    self._set_share(min(self._buffer.share, share or self._buffer.share / 2), now)

    def drop_oldest(self) -> None:
        """Remove the oldest segment, if there is one."""
        self._remove(sorted(self.held, key=lambda segment: segment.about.last)[:1])

    def _slot_of(self, instant: float) -> int:
        return int(instant // self._slot_seconds)

    def _shape(
        self, slots: list[tuple[int, list[Segment]]], current: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = [sum(segment.about.rows for segment in members) for _, members in slots]
        ages = [max(current - slot, 0) for slot, _ in slots]
        return np.array(rows, np.float64), self._weigh(np.array(ages, np.float64))

    def _steer(self, now: float, quota: int, fresh: int) -> None:
        """Take a share of the stream that fills the current slot, and hardly more."""
        current, share = self._slot_of(now), self._buffer.share
        if share != self._pace.share:  # the buffer was too full
            self._pace = Pace(share, now)
        else:
            self._pace.fresh += fresh
        slots = list(by_slot(self.held))
        earlier = [members for slot, members in slots if slot < current]
        if current != self._slot and earlier:
            target = self._target(slots, current, quota)
            planned = self._pace.planned(now, self._slot_seconds, target)
            share = planned or planned_share(earlier[-1], self._slot_seconds, target)
        elif share < 1.0:
            have = sum(s.about.rows for s in self.held if s.about.slot == current)
            left = (current + 1) * self._slot_seconds - now
            if have + self._pace.at_most(now, left) < self._target(slots, current, quota) / 2:
                share = min(2 * share, 1.0)
        self._slot = current
        self._set_share(share, now)

    def _set_share(self, share: float, now: float) -> None:
        self._buffer.share = share
        if share != self._pace.share:
            self._pace = Pace(share, now)

    def _target(self, slots: list[tuple[int, list[Segment]]], current: int, quota: int) -> float:
        """Return the rows that the current slot may have once it is over."""
        others = [entry for entry in slots if entry[0] != current]
        rows, weights = self._shape(others, current)
        own = self._weigh(np.zeros(1))
        water = level(np.append(rows, 2.0 * quota), np.append(weights, own), _SLACK * quota)
        return min(water * float(own[0]), float(quota))

    def _put(self, table: pa.Table, slot: int, tally: Tally, share: float, *, sync: bool) -> None:
        about = self._about(table, slot, tally, share)
        self.held.append(self._segments.write(table, about, sync=sync))

    def _about(self, table: pa.Table, slot: int, tally: Tally, share: float) -> About:
        seen = table.column("seen").to_numpy()
        return About(
            kind=self.kind,
            columns=self._layout.columns,
            slot=slot,
            rows=len(seen),
            first=float(seen.min()),
            last=float(seen.max()),
            share=share,
            tally=tally,
        )

    def _read(self, segments: list[Segment]) -> tuple[pa.Table, list[Segment]]:
        """Return the rows of those segments that are whole, and these."""
        tables, whole = [], []
        for segment in sorted(segments, key=lambda segment: segment.about.first):
            table = self._segments.read(segment)
            if table is None:
                self.held.remove(segment)
                continue
            tables.append(table.replace_schema_metadata(None))
            whole.append(segment)
        return (pa.concat_tables(tables) if tables else self._layout.empty()), whole

    def _rewrite(self, members: list[Segment], count: int | None = None) -> float | None:
        """Put one segment, of at most ``count`` rows, in the place of several; return its share."""
        table, whole = self._read(members)
        if not whole:
            return None
        tally = sum((segment.about.tally for segment in whole), Tally())
        share = min(segment.about.share for segment in whole)
        if count is not None and count < table.num_rows:
            tally += Tally(thinned=table.num_rows - count)
            table, share = self._thinned(table, count)
        if table.num_rows:
            about = self._about(table, whole[0].about.slot, tally, share)
            height = max(segment.about.level for segment in whole) + 1
            names = tuple(segment.name for segment in whole)
            about = msgspec.structs.replace(about, level=height, replaces=names)
            self.held.append(self._segments.write(table, about))
        self._remove(whole)
        return share

    def _thinned(self, table: pa.Table, count: int) -> tuple[pa.Table, float]:
        shares = table.column("share").to_numpy()
        indices, limit = survivors(shares, count, self._rng)
        place = table.schema.get_field_index("share")
        fewer = table.take(pa.array(indices))
        now_shares = pa.array(np.minimum(fewer.column("share").to_numpy(), limit))
        return fewer.set_column(place, table.schema.field(place), now_shares), limit

    def _remove(self, segments: list[Segment]) -> None:
        gone = {segment.name for segment in segments}
        self.held = [segment for segment in self.held if segment.name not in gone]
        self._segments.remove(segments)
