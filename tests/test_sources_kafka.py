"""The Kafka source against a real broker."""

from __future__ import annotations

import json
import threading
import time
import uuid
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import CorruptRecordError

from tests.brokers import PASSWORD, USER, Broker, free_port, wait_until
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.peers import security
from vaeiso_monitor.peers.security import KafkaSecurity
from vaeiso_monitor.sources import open_source
from vaeiso_monitor.sources.kafka import KafkaSource
from vaeiso_monitor.sources.kafka_config import KafkaSourceConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vaeiso_monitor.types import Polled

pytestmark = pytest.mark.kafka


Where = tuple[int, int]  # partition, offset


def config(broker: Broker, topic: str, group: str | None = None, **keys: Any) -> KafkaSourceConfig:
    defaults: dict[str, Any] = {
        "bootstrap_servers": (broker.address,),
        "topics": (topic,),
        "group_id": group or f"g{uuid.uuid4().hex[:8]}",
        "auto_offset_reset": "earliest",
        "session_timeout_seconds": 1.5,
        "heartbeat_interval_seconds": 0.3,
        "fetch_max_wait_seconds": 0.1,
        "commit_interval_seconds": 0.0,
        "connect_timeout_seconds": 5.0,
        "outage_deadline_seconds": 30.0,
    }
    return KafkaSourceConfig(**{**defaults, **keys})


@contextmanager
def opened(settings: KafkaSourceConfig) -> Iterator[KafkaSource]:
    source = open_source(settings, max_record_bytes=1 << 20)
    assert isinstance(source, KafkaSource)
    with closing(source):
        yield source


def values(count: int, start: int = 0) -> list[bytes | None]:
    return [json.dumps({"n": n}).encode() for n in range(start, start + count)]


def places(polled: Polled) -> list[Where]:
    found = [polled.batch.position(row) for row in range(len(polled.batch))]
    return [(position.partition, position.offset) for position in found]


def poll(source: KafkaSource, count: int = 1000) -> Polled:
    polled = source.poll(count, 0.1)
    assert polled is not None
    return polled


def read(source: KafkaSource, count: int, seconds: float = 20.0) -> list[Where]:
    """Poll and commit until ``count`` records have come."""
    found: list[Where] = []
    deadline = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records"
        polled = poll(source)
        found += places(polled)
        source.commit(polled.checkpoint)
    return found


def test_reads_commits_and_resumes(broker: Broker):
    topic = broker.topic(2)
    broker.produce(topic, [*values(300), None])
    settings = config(broker, topic)
    with opened(settings) as source:
        first = read(source, 301)
        polled = poll(source)
        assert len(polled.batch) == 0
        assert source.connected()
        wait_until(lambda: [p.lag_records for p in poll(source) and source.progress()] == [0, 0])
    assert sorted(first) == [(0, n) for n in range(151)] + [(1, n) for n in range(150)]
    assert [broker.committed(settings.group_id, topic, p) for p in (0, 1)] == [151, 150]
    broker.produce(topic, values(10), partition=1)
    with opened(settings) as source:
        assert read(source, 10) == [(1, n) for n in range(150, 160)]


def test_a_batch_keeps_values_positions_and_times(broker: Broker):
    topic = broker.topic()
    before = time.time()
    broker.produce(topic, [b'{"a": 1}', None, b"\xff"])
    with opened(config(broker, topic)) as source:
        while not len((polled := poll(source)).batch):
            pass
        batch = polled.batch
        assert list(batch.payload) == [b'{"a": 1}', None, b"\xff"]
        assert str(batch.position(2)) == f"kafka:{topic}/0@2"
        stamp = batch.timestamp(0)
        assert stamp is not None
        assert before - 1 < stamp < time.time() + 1


def test_latest_is_the_default_and_leaves_old_records_out(broker: Broker):
    topic = broker.topic()
    broker.produce(topic, values(5))
    with opened(config(broker, topic, auto_offset_reset="latest")) as source:
        wait_until(
            lambda: poll(source) and source.progress() and source.progress()[0].lag_records == 0
        )
        broker.produce(topic, values(1, 5))
        assert read(source, 1) == [(0, 5)]


def test_commits_only_what_the_checkpoint_holds(broker: Broker):
    topic = broker.topic()
    broker.produce(topic, values(100))
    settings = config(broker, topic)
    with opened(settings) as source:
        found: list[Polled] = []
        while sum(len(polled.batch) for polled in found) < 60:
            found.append(poll(source, 20))
        batches = [polled for polled in found if len(polled.batch)]
        source.commit(batches[0].checkpoint)
    assert broker.committed(settings.group_id, topic) == 20


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_reads_compressed_records(broker: Broker, codec: str):
    topic = broker.topic()
    broker.produce(topic, values(50), codec=codec)
    with opened(config(broker, topic)) as source:
        assert read(source, 50) == [(0, n) for n in range(50)]


class Member(threading.Thread):
    """A member of a group that polls and commits like a daemon, until it is stopped."""

    def __init__(self, settings: KafkaSourceConfig) -> None:
        super().__init__()
        self.source = open_source(settings, max_record_bytes=1 << 20)
        self.seen: list[Where] = []
        self._stop_asked = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._stop_asked.is_set():
            polled = self.source.poll(1000, 0.05)
            assert polled is not None
            self.seen += places(polled)
            self.source.commit(polled.checkpoint)
        self.source.close()

    def owns(self) -> int:
        return len(self.source.progress())

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@pytest.mark.parametrize("assignment", ["cooperative-sticky", "range"])
def test_a_second_member_comes_and_goes_without_loss(broker: Broker, assignment: Any):
    topic = broker.topic(4)
    settings = config(broker, topic, assignment=assignment)
    written = 0

    def write() -> bool:
        nonlocal written
        broker.produce(topic, values(40, written))
        written += 40
        return True

    with Member(settings) as first:
        wait_until(lambda: write() and len(first.seen) > 100)
        with Member(settings) as second:
            wait_until(lambda: write() and second.seen and first.owns() == second.owns() == 2)
        wait_until(lambda: write() and first.owns() == 4)
        wait_until(lambda: len({*first.seen, *second.seen}) == written)
    assert {*first.seen, *second.seen} == {(p, n) for p in range(4) for n in range(written // 4)}
    assert sum(broker.committed(settings.group_id, topic, p) or 0 for p in range(4)) == written


def test_a_revoked_partition_is_left_to_its_new_owner(broker: Broker):
    topic = broker.topic(2)
    broker.produce(topic, values(20))
    settings = config(broker, topic)
    with opened(settings) as first:
        held = []
        while sum(len(polled.batch) for polled in held) < 20:
            held.append(poll(first))
        with Member(settings) as second:
            wait_until(lambda: poll(first) and len(first.progress()) == second.owns() == 1)
            kept = first.progress()[0].partition
            lost = second.source.progress()[0].partition
            wait_until(lambda: len(second.seen) == 10)
            for polled in held:
                first.commit(polled.checkpoint)
            noted = first._offsets._waiting | first._offsets._sent
            assert list(noted) == [TopicPartition(topic, kept)]
            wait_until(lambda: poll(first) and first._offsets.idle())
    assert {kept, lost} == {0, 1}
    assert broker.committed(settings.group_id, topic, kept) == 10


def test_what_was_delivered_is_committed_before_a_partition_is_given_away(broker: Broker):
    topic = broker.topic(2)
    broker.produce(topic, values(20))
    settings = config(broker, topic, commit_interval_seconds=60.0)
    with Member(settings) as first:
        wait_until(lambda: len(first.seen) == 20)
        with Member(settings) as second:
            wait_until(lambda: first.owns() == second.owns() == 1)
            lost = second.source.progress()[0].partition
            wait_until(lambda: second.source.progress()[0].lag_records == 0)
            assert broker.committed(settings.group_id, topic, lost) == 10
            assert second.seen == []
    assert broker.committed(settings.group_id, topic, 1 - lost) == 10


def test_stays_in_the_group_while_nothing_is_polled(broker: Broker):
    topic = broker.topic(2)
    broker.produce(topic, values(100))
    settings = config(broker, topic, poll_interval_limit_seconds=2.0)
    with opened(settings) as source:
        found = places(poll(source, 10))
        while not found:
            found = places(poll(source, 10))
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            source.keep_alive()
            time.sleep(0.2)
        broker.produce(topic, values(10, 100))
        found += read(source, 110 - len(found))
    assert sorted(found) == [(p, n) for p in (0, 1) for n in range(55)]


def test_a_missing_topic_is_named_and_not_created(broker: Broker):
    with opened(config(broker, "no-such-topic")) as source:
        with pytest.raises(ConfigError, match="'no-such-topic' does not exist"):
            source.check()
        with pytest.raises(ConfigError, match="'no-such-topic' does not exist"):
            source.poll(1, 0.1)
    with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
        assert "no-such-topic" not in admin.list_topics()


def test_check_says_what_was_found(broker: Broker):
    topic = broker.topic(3)
    with opened(config(broker, topic, "my-group")) as source:
        assert (
            source.check() == f"Kafka at {broker.address}: {topic} (3 partitions), group my-group"
        )


def test_without_a_broker_it_tries_until_the_deadline(broker: Broker):
    port = free_port()
    settings = config(
        broker,
        "t",
        bootstrap_servers=(f"127.0.0.1:{port}",),
        connect_timeout_seconds=0.3,
        outage_deadline_seconds=0.8,
    )
    with opened(settings) as source:
        with pytest.raises(TransientError, match=f"nobody answers at 127.0.0.1:{port}"):
            source.check()
        assert len(poll(source).batch) == 0
        assert not source.connected()
        assert source.errors == 1
        with pytest.raises(TransientError, match="out of reach"):
            wait_until(lambda: poll(source) is None)


def test_a_stalled_broker_is_noticed_and_waited_for(broker: Broker, needs: Callable[[str], None]):
    needs("freeze")
    topic = broker.topic()
    broker.produce(topic, values(10))
    with opened(config(broker, topic, session_timeout_seconds=6)) as source:
        found = read(source, 10)
        with broker.frozen():
            wait_until(lambda: poll(source) and not source.connected())
            idle = source.progress()[0].idle_seconds
            wait_until(lambda: poll(source) and source.progress()[0].idle_seconds > idle)
        broker.produce(topic, values(10, 10))
        found += read(source, 10)
        assert source.connected()
    assert found == [(0, n) for n in range(20)]


def test_a_silent_broker_ends_it_after_the_deadline(broker: Broker, needs: Callable[[str], None]):
    needs("freeze")
    topic = broker.topic()
    broker.produce(topic, values(1))
    with opened(config(broker, topic, outage_deadline_seconds=0.5)) as source:
        read(source, 1)
        with broker.frozen(), pytest.raises(TransientError, match=r"Kafka"):
            wait_until(lambda: poll(source) is None)


def test_goes_on_when_the_broker_was_killed(broker: Broker, needs: Callable[[str], None]):
    needs("restart")
    topic = broker.topic(2)
    broker.produce(topic, values(100))
    with opened(config(broker, topic)) as source:
        found = read(source, 100)
        broker.kill()
        wait_until(lambda: poll(source) and not source.connected())
        assert broker.restart is not None
        broker.restart()
        broker.produce(topic, values(100, 100))
        found += read(source, 100, 30)
        wait_until(source.connected)
    assert set(found) == {(p, n) for p in (0, 1) for n in range(100)}


def test_a_failure_of_the_client_is_answered_with_a_new_client(broker: Broker):
    topic = broker.topic()
    broker.produce(topic, values(30))
    with opened(config(broker, topic)) as source:
        polled = poll(source, 10)
        while not len(polled.batch):
            polled = poll(source, 10)
        source.commit(polled.checkpoint)
        wait_until(lambda: source.keep_alive() or source._offsets.idle())
        failing = source._consumer

        def fail(*_: object) -> None:
            raise CorruptRecordError

        failing.poll = fail
        assert len(poll(source).batch) == 0
        assert source.errors == 1
        assert read(source, 20) == [(0, n) for n in range(10, 30)]
        assert source._consumer is not failing


def test_without_a_position_and_without_a_reset_it_says_so(broker: Broker):
    topic = broker.topic()
    settings = config(broker, topic, auto_offset_reset="none")
    with opened(settings) as source, pytest.raises(ConfigError, match="auto_offset_reset"):
        wait_until(lambda: poll(source) is None)


def test_hides_aborted_records(broker: Broker, needs: Callable[[str], None]):
    needs("aborted_transactions")
    topic = broker.topic()
    producer = KafkaProducer(bootstrap_servers=broker.address, transactional_id=topic)
    with closing(producer):
        producer.init_transactions()
        for number, value in enumerate(values(4)):
            producer.begin_transaction()
            producer.send(topic, value)
            producer.flush()
            (producer.abort_transaction if number % 2 else producer.commit_transaction)()
    with opened(config(broker, topic, isolation_level="read_committed")) as source:
        assert read(source, 2) == [(0, 0), (0, 4)]


def secured(broker: Broker, **keys: Any) -> KafkaSecurity:
    defaults: dict[str, Any] = {
        "protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "username": USER,
        "password_env": "TEST_PASSWORD",
        "ca_file": broker.ca_file,
    }
    return KafkaSecurity(**{**defaults, **keys})


def grant(broker: Broker, kind: ResourceType, name: str) -> None:
    acl = ACL(
        principal=f"User:{USER}",
        host="*",
        operation=ACLOperation.READ,
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(kind, name),
    )
    with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
        admin.create_acls([acl])


def test_reads_over_tls_with_a_login_and_names_missing_rights(
    broker: Broker, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    needs("acls")
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    topic = broker.topic()
    broker.produce(topic, values(10))
    assert broker.secure_address is not None
    keys = {"bootstrap_servers": (broker.secure_address,), "security": secured(broker)}
    settings = config(broker, topic, **keys)
    with opened(settings) as source, pytest.raises(ConfigError, match="grant the right READ"):
        source.check()
    grant(broker, ResourceType.TOPIC, topic)
    with opened(settings) as source, pytest.raises(ConfigError, match="GroupAuthorizationFailed"):
        source.check()
    with opened(settings) as source, pytest.raises(ConfigError, match="GroupAuthorizationFailed"):
        wait_until(lambda: poll(source) is None)
    grant(broker, ResourceType.GROUP, settings.group_id)
    with opened(settings) as source:
        assert topic in source.check()
        assert read(source, 10) == [(0, n) for n in range(10)]


def test_tells_the_faults_of_a_connection_apart(
    broker: Broker,
    needs: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    certificates: Path,
):
    needs("security")
    assert broker.secure_address is not None
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG_PASSWORD", "guessed")
    cases = [
        (
            broker.secure_address,
            secured(broker, password_env="WRONG_PASSWORD"),
            "refuses the login",
        ),
        (
            broker.secure_address,
            secured(broker, sasl_mechanism="PLAIN"),
            "PLAIN",
        ),
        (
            broker.secure_address,
            secured(broker, ca_file=str(certificates / "other-ca.pem")),
            "is not trusted",
        ),
        (broker.secure_address, KafkaSecurity(), "expects TLS"),
        (broker.address, secured(broker), "does not speak TLS"),
    ]
    for address, secure, words in cases:
        settings = config(
            broker, "t", bootstrap_servers=(address,), security=secure, connect_timeout_seconds=1.0
        )
        with opened(settings) as source, pytest.raises(ConfigError, match=words) as caught:
            source.check()
        assert PASSWORD not in str(caught.value)
        assert "guessed" not in str(caught.value)


def test_refuses_to_start_without_fast_checksums(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(security, "crc32c_c", None)
    settings = KafkaSourceConfig(bootstrap_servers=("b:1",), topics=("t",), group_id="g")
    with pytest.raises(ConfigError, match="crc32c"):
        open_source(settings, max_record_bytes=1)
