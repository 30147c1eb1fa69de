"""Which partitions are owned, and which of their offsets wait for a commit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kafka.future import Future

log = structlog.get_logger(__name__)

_RETRY_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of what was polled of one partition, while it was owned under ``claim``."""

    partition: TopicPartition
    next_offset: int
    leader_epoch: int
    claim: int | None


class Offsets(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Keeps the offsets that were delivered until the broker has them.

    Commits run in the background: a call that waits for one may never return
    (kafka-python issue 3121), so each is only looked at later.
    A partition that was revoked in the meantime is left to its new owner: its claim is gone.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._lock = Lock()  # the listener runs on the client's own thread
        self._claims: dict[TopicPartition, int] = {}
        self._next_claim = count(1)
        self._waiting: dict[TopicPartition, tuple[int, OffsetAndMetadata]] = {}
        self._sent: dict[TopicPartition, tuple[int, OffsetAndMetadata]] = {}
        self._reply: Future | None = None
        self._sent_at = 0.0
        self._failing = False
        self._waiting_since: float | None = None
        self._consumer: KafkaConsumer | None = None

    def forget(self) -> None:
        """Own nothing any more; what was not committed is read again."""
        with self._lock:
            self._consumer = None
            self._claims.clear()
            self._waiting.clear()
            self._sent.clear()
            self._reply = None
            self._waiting_since = None

    def attach(self, consumer: KafkaConsumer) -> None:
        """Commit through a new consumer."""
        self._consumer = consumer

    def marks(self, records: Mapping[TopicPartition, Sequence[Any]]) -> tuple[Mark, ...]:
        """Return the checkpoint of what was just polled."""
        claims = self._claims
        return tuple(
            Mark(tp, rows[-1].offset + 1, rows[-1].leader_epoch, claims.get(tp))
            for tp, rows in records.items()
        )

    def note(self, marks: Sequence[Mark]) -> None:
        """Take over what was delivered, of the partitions that are still owned."""
        with self._lock:
            for mark in marks:
                if mark.claim is not None and self._claims.get(mark.partition) == mark.claim:
                    offset = OffsetAndMetadata(mark.next_offset, "", mark.leader_epoch)
                    self._waiting[mark.partition] = (mark.claim, offset)
            if self._waiting and self._waiting_since is None:
                self._waiting_since = monotonic()

    def send(self, interval_seconds: float) -> None:
        """Start a commit when one is due; look first at what became of the last one."""
        self._settle()
        now = monotonic()
        pause = max(interval_seconds, _RETRY_SECONDS if self._failing else 0.0)
        if self._reply is not None or now - self._sent_at < pause:
            return
        with self._lock:
            if not self._waiting or self._consumer is None:
                return
            self._sent, self._waiting = self._waiting, {}
            offsets = {tp: offset for tp, (_, offset) in self._sent.items()}
        self._sent_at = now
        self._reply = self._consumer.commit_async(offsets)

    def idle(self) -> bool:
        """Say whether the broker has everything that was delivered."""
        return self._reply is None and not self._waiting

    def overdue_seconds(self) -> float:
        """Return for how long delivered offsets have been waiting for the broker."""
        since = self._waiting_since
        return 0.0 if since is None else monotonic() - since

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Commit what was delivered of them, then forget them."""
        with self._lock:
            offsets = {tp: self._waiting.pop(tp)[1] for tp in revoked if tp in self._waiting}
            for tp in revoked:
                self._claims.pop(tp, None)
        if offsets and self._consumer is not None:
            try:
                await self._consumer.commit_async(offsets)
            except KafkaError as error:
                log.warning("commit_before_revoke_failed", error=str(error))

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Claim them afresh, so that checkpoints of an earlier ownership no longer count."""
        with self._lock:
            for tp in assigned:
                self._claims[tp] = next(self._next_claim)

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        """Forget them; somebody else already owns them, so nothing is committed."""
        with self._lock:
            for tp in lost:
                self._claims.pop(tp, None)
                self._waiting.pop(tp, None)

    def _settle(self) -> None:
        reply = self._reply
        if reply is None or not reply.is_done:
            return
        self._reply = None
        with self._lock:
            sent, self._sent = self._sent, {}
            if reply.failed():
                for tp, waiting in sent.items():
                    if self._claims.get(tp) == waiting[0]:
                        self._waiting.setdefault(tp, waiting)
            self._waiting_since = self._still_waiting(reply.failed())
        if reply.failed():
            self.failures += 1
            if not self._failing:
                log.warning("commit_failed", error=str(reply.exception), action="commit again")
        self._failing = reply.failed()

    def _still_waiting(self, failed: bool) -> float | None:
        if not self._waiting:
            return None
        return self._waiting_since if failed else monotonic()
