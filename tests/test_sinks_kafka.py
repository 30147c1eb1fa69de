"""The Kafka sink against a real broker."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaAdminClient
from kafka.errors import UnknownProducerIdError

from tests.brokers import PASSWORD, USER, Broker, free_port
from tests.messages import Note, notes
from vaeiso_monitor.errors import ConfigError, TransientError
from vaeiso_monitor.peers.security import KafkaSecurity
from vaeiso_monitor.sinks import open_sink
from vaeiso_monitor.sinks.kafka import KafkaSink, KafkaSinkConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kafka


@contextmanager
def opened(broker: Broker, topic: str, **keys: Any) -> Iterator[KafkaSink]:
    defaults = {"bootstrap_servers": (broker.address,), "connect_timeout_seconds": 5.0}
    config = KafkaSinkConfig(topic=topic, **{**defaults, "deadline_seconds": 30.0, **keys})
    sink = open_sink(config)
    assert isinstance(sink, KafkaSink)
    with closing(sink):
        yield sink


@pytest.mark.parametrize("compression", ["none", "gzip", "lz4", "zstd"])
def test_delivers_with_key_and_headers(broker: Broker, compression: Any):
    topic = broker.topic()
    with opened(broker, topic, compression=compression, headers={"origin": "test"}) as sink:
        sink.deliver(notes(300))
        sink.deliver([])
        sink.deliver(notes(1, 300))
        assert sink.connected()
    assert broker.read(topic, 301) == [(note.key, note.to_json()) for note in notes(301)]


def test_check_looks_the_topic_up(broker: Broker):
    topic = broker.topic(2)
    with opened(broker, topic) as sink:
        assert sink.check() == f"Kafka at {broker.address}: topic {topic}, 2 partitions"


def test_a_missing_topic_is_named_and_not_created(broker: Broker):
    with opened(broker, "no-such-sink-topic") as sink:
        for call in (sink.check, lambda: sink.deliver(notes(1))):
            with pytest.raises(ConfigError, match="'no-such-sink-topic' does not exist"):
                call()
    with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
        assert "no-such-sink-topic" not in admin.list_topics()


def test_a_message_over_the_limit_is_refused_for_good(broker: Broker):
    with opened(broker, broker.topic(), max_request_bytes=2000) as sink:
        with pytest.raises(ConfigError, match="MessageSizeTooLarge"):
            sink.deliver([Note(0, "x" * 5000)])
        assert not sink.connected()
        sink.deliver(notes(1))
        assert sink.connected()


def test_without_a_broker_it_gives_up_after_the_deadline(broker: Broker):
    keys = {"bootstrap_servers": (f"127.0.0.1:{free_port()}",), "deadline_seconds": 0.5}
    with opened(broker, "t", **keys) as sink:
        with pytest.raises(TransientError, match="nobody answers"):
            sink.deliver(notes(1))
        assert not sink.connected()


def test_waits_for_a_stalled_broker(broker: Broker, needs: Callable[[str], None]):
    needs("freeze")
    topic = broker.topic()
    with opened(broker, topic) as sink:
        sink.deliver(notes(1))
        with broker.frozen():
            late = threading.Thread(target=sink.deliver, args=(notes(1, 1),))
            late.start()
            late.join(0.5)
            assert late.is_alive()
        late.join(20)
        assert not late.is_alive()
    assert len(broker.read(topic, 2)) == 2


def test_a_silent_broker_is_given_up_after_the_deadline(
    broker: Broker, needs: Callable[[str], None]
):
    needs("freeze")
    topic = broker.topic()
    with opened(broker, topic, deadline_seconds=1.0, connect_timeout_seconds=0.3) as sink:
        sink.deliver(notes(1))
        with broker.frozen(), pytest.raises(TransientError, match="took no messages"):
            sink.deliver(notes(1, 1))
        assert not sink.connected()


def test_goes_on_when_the_broker_was_killed(broker: Broker, needs: Callable[[str], None]):
    needs("restart")
    topic = broker.topic()
    with opened(broker, topic, deadline_seconds=60) as sink:
        sink.deliver(notes(10))
        broker.kill()
        late = threading.Thread(target=sink.deliver, args=(notes(10, 10),))
        late.start()
        assert broker.restart is not None
        broker.restart()
        late.join(60)
        assert not late.is_alive()
        assert sink.connected()
    found = broker.read(topic, 20)
    assert [key for key, _ in found] == [note.key for note in notes(20)]


def test_a_producer_that_the_broker_forgot_is_built_anew(broker: Broker):
    topic = broker.topic()
    with opened(broker, topic) as sink:
        sink.deliver(notes(1))
        forgotten = sink._producer
        assert forgotten is not None

        def fail(*_: object, **__: object) -> None:
            raise UnknownProducerIdError

        forgotten.send = fail
        sink.deliver(notes(1, 1))
        assert sink.errors == 1
        assert sink._producer is not forgotten
    assert len(broker.read(topic, 2)) == 2


def test_a_missing_right_is_named(
    broker: Broker, needs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    needs("acls")
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    assert broker.secure_address is not None
    security = KafkaSecurity(
        protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        username=USER,
        password_env="TEST_PASSWORD",
        ca_file=broker.ca_file,
    )
    keys = {"bootstrap_servers": (broker.secure_address,), "security": security}
    refused = pytest.raises(ConfigError, match="grant the right WRITE")
    with opened(broker, broker.topic(), **keys) as sink, refused:
        sink.deliver(notes(1))
