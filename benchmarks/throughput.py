"""Records per second out of Kafka: a bare poll loop, poll + decode, and the whole daemon.

    KAFKA_HOME=... python benchmarks/throughput.py [--records 200000] [--rounds 5] [--json OUT]
    python benchmarks/throughput.py --bootstrap HOST:PORT ...

One topic with 4 partitions for each size of record. In every round each way reads the whole topic
as a fresh consumer group, in a process of its own; medians over the rounds are compared. The clock
runs from the first records that a process gets to its last one; joining the group is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
WAYS = ("bare", "decode", "daemon")
PARTITIONS = 4
TRAINING_RECORDS = 20_000
SIZES = {"1 kB, 40 fields": 37, "173 bytes, 8 fields": 5}  # how many numbers beside 3 other fields


def documents(count: int, numbers: int, seed: int) -> list[bytes]:
    """Return records of correlated numbers, a key, a time and a category, as JSON."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(6, numbers))
    values = rng.normal(size=(count, 6)) @ mixing + 0.2 * rng.normal(size=(count, numbers))
    names = [f"sensor_{j:02}_value" for j in range(numbers)]
    states = rng.choice(["running", "idle", "starting"], size=count)
    return [
        json.dumps(
            {"id": i, "time": 1_700_000_000 + i, "state": state}
            | dict(zip(names, row, strict=True)),
            separators=(",", ":"),
        ).encode()
        for i, (state, row) in enumerate(
            zip(states.tolist(), np.round(20 + 5 * values, 4).tolist(), strict=True)
        )
    ]


def config(folder: Path, bootstrap: str, topic: str, group: str, numbers: int) -> dict:
    """Return the daemon's config, as its TOML file would be read."""
    columns = [{"name": f"sensor_{j:02}_value", "kind": "number"} for j in range(numbers)]
    sink = {"type": "file", "path": str(folder / f"{group}.alerts.jsonl")}
    return {
        "source": {
            "type": "kafka",
            "bootstrap_servers": [bootstrap],
            "topics": [topic],
            "group_id": group,
            "auto_offset_reset": "earliest",
        },
        "schema": {
            "key": "id",
            "time": "time",
            "columns": [*columns, {"name": "state", "kind": "category"}],
        },
        "store": {"path": str(folder / f"store-{numbers}")},
        "lifecycle": {"path": str(folder / f"state-{group}")},
        "retrain": {"enabled": False},
        "training": {"max_steps": 600, "held_out_share": 0.5},
        "threshold": {"alert_budget": 0.001},
        "alerts": {"sinks": [sink]},
        "dead_letters": {"sinks": [sink | {"path": str(folder / f"{group}.dead.jsonl")}]},
        "server": {"port": 0},
        "log": {"level": "warning"},
    }


# What the child processes do


def train(document: dict, numbers: int) -> None:
    """Put a bundle into the store; few steps, as training does not change the cost of a score."""
    from vaeiso_monitor import settings
    from vaeiso_monitor.bundle import BundleStore
    from vaeiso_monitor.detector import train as train_bundle
    from vaeiso_monitor.records import Decoder
    from vaeiso_monitor.types import RawBatch, Span

    loaded = settings.parse(document)
    payload = documents(TRAINING_RECORDS, numbers, seed=1)
    batch = RawBatch(payload, [Span("memory", "train", 0, 0, range(len(payload)))])
    records, _ = Decoder(loaded.record_schema).decode(batch)
    store = BundleStore(loaded.store)
    store.prepare()
    bundle = train_bundle(records, loaded.record_schema, loaded.recipe)
    store.add(bundle)
    store.promote(bundle.version)


class Clock:
    """Wall and CPU time from the first records on; those are not counted, being there already."""

    def __init__(self) -> None:
        self.seen = self._first = 0
        self.stages: Counter[str] = Counter()
        self.batches = 0

    def received(self, count: int) -> None:
        if not self.seen:
            self._first = count
            self._wall, self._cpu = time.perf_counter(), time.process_time()
            self._loop = time.thread_time()
        self.seen += count
        self.batches += 1

    def report(self) -> dict:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        timed = self.seen - self._first
        return {
            "records_per_second": timed / wall,
            "cpu_us_per_record": 1e6 * cpu / timed,
            "loop_cpu_us_per_record": 1e6 * (time.thread_time() - self._loop) / timed,
            "peak_rss_mib": peak_rss_mib(),
            "records_per_poll": self.seen / self.batches,
            "stage_us_per_record": {k: 1e6 * v / self.seen for k, v in self.stages.items()},
        }


def peak_rss_mib() -> float:
    """Return the high-water mark of this process; getrusage would count its parent's, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def bare(document: dict, count: int) -> dict:
    """Poll and count, with the settings of the daemon's source."""
    from kafka import KafkaConsumer

    source = document["source"]
    consumer = KafkaConsumer(
        *source["topics"],
        bootstrap_servers=source["bootstrap_servers"],
        group_id=source["group_id"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=8192,
    )
    clock = Clock()
    while clock.seen < count:
        found = consumer.poll(500)
        if found:
            clock.received(sum(map(len, found.values())))
    report = clock.report()
    consumer.close()
    return report


def decode(document: dict, count: int) -> dict:
    """Read through the daemon's source and decode; no commits."""
    from vaeiso_monitor import settings
    from vaeiso_monitor.records import Decoder
    from vaeiso_monitor.sources import open_source

    loaded = settings.parse(document)
    decoder = Decoder(loaded.record_schema)
    clock, decoded = Clock(), 0
    with closing(open_source(loaded.source, max_record_bytes=1 << 20)) as source:
        while decoded < count:
            polled = source.poll(loaded.pipeline.batch_records, loaded.pipeline.linger_seconds)
            if polled is not None and polled.batch.received:
                clock.received(polled.batch.received)
                decoded += len(decoder.decode(polled.batch)[0])
        return clock.report()


def daemon(document: dict, count: int) -> dict:
    """Run the daemon as ``run`` composes it, until all records are scored."""
    from vaeiso_monitor import app, settings
    from vaeiso_monitor.telemetry import Telemetry, configure_logging

    clock = Clock()
    reports: list[dict] = []
    scored = 0

    class Listening(Telemetry):
        """Tells the clock what the daemon says of itself."""

        def records_received(self, source: str, stream: str, count: int, size: int) -> None:
            clock.received(count)
            super().records_received(source, stream, count, size)

        def stage_finished(self, stage: str, seconds: float) -> None:
            clock.stages[stage] += seconds
            super().stage_finished(stage, seconds)

        def batch_scored(self, batch: object) -> None:
            nonlocal scored
            super().batch_scored(batch)
            scored += batch.records
            if scored >= count:
                reports.append(clock.report())
                stop.wish()

    app.telling.Telemetry = Listening  # the daemon asks for no other way in
    loaded = settings.parse(document)
    configure_logging(loaded.log)
    stop = app.Stop(300)
    app.run(loaded, stop, reporter=None)
    return reports[0] | {"stage_us_per_record": clock.report()["stage_us_per_record"]}


def child(order: dict) -> None:
    """Do one thing in this process and print what was measured."""
    document, numbers = order["config"], order["numbers"]
    if order["way"] == "train":
        train(document, numbers)
        return
    way = {"bare": bare, "decode": decode, "daemon": daemon}[order["way"]]
    print(json.dumps(way(document, order["records"])))


# What the parent does


def ask(order: dict) -> str:
    command = [sys.executable, __file__, "--child", json.dumps(order)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600, cwd=ROOT)
    return (done.stdout.decode().splitlines() or [""])[-1]


@contextmanager
def broker(bootstrap: str | None, folder: Path) -> Iterator[str]:
    """Yield the address of a broker: a given one, or the Kafka of KAFKA_HOME."""
    if bootstrap is not None:
        yield bootstrap
        return
    if "KAFKA_HOME" not in os.environ:
        sys.exit("set KAFKA_HOME, or name a broker with --bootstrap HOST:PORT")
    sys.path.insert(0, str(ROOT))
    from tests.brokers import real_kafka

    kafka = contextmanager(real_kafka)
    with kafka(folder, None) as started:
        yield started.address


def fill(bootstrap: str, count: int, numbers: int) -> tuple[str, float]:
    """Write a new topic; return its name and the mean size of a record."""
    from kafka import KafkaAdminClient, KafkaProducer
    from kafka.admin import NewTopic

    topic = f"throughput-{uuid.uuid4().hex[:8]}"
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        admin.wait_for_topics([topic])
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, batch_size=262_144)
    values = documents(count, numbers, seed=2)
    for i, value in enumerate(values):
        producer.send(topic, value, partition=i % PARTITIONS)
    producer.flush(120)
    producer.close()
    return topic, sum(map(len, values)) / count


def measure(bootstrap: str, folder: Path, args: argparse.Namespace, numbers: int) -> dict:
    """Return for each way its rounds and medians, and its median ratio to the bare loop."""
    topic, size = fill(bootstrap, args.records, numbers)
    order = {"numbers": numbers, "records": args.records}
    ask(order | {"way": "train", "config": config(folder, bootstrap, topic, "train", numbers)})
    rounds: dict[str, list[dict]] = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way in WAYS:
            document = config(folder, bootstrap, topic, uuid.uuid4().hex[:8], numbers)
            rounds[way].append(json.loads(ask(order | {"way": way, "config": document})))
    rates = {way: [r["records_per_second"] for r in found] for way, found in rounds.items()}
    ratios = {
        way: statistics.median(a / b for a, b in zip(rates[way], rates["bare"], strict=True))
        for way in WAYS
    }
    return {"bytes_per_record": size, "ratios": ratios, "rounds": rounds}


def show(name: str, found: dict) -> None:
    print(f"\n{name} ({found['bytes_per_record']:.0f} bytes)")
    for way, rounds in found["rounds"].items():
        rates = [r["records_per_second"] for r in rounds]

        def median(key: str, rounds: list[dict] = rounds) -> float:
            return statistics.median(r[key] for r in rounds)

        print(
            f"  {way:7} {statistics.median(rates):9,.0f}/s ({min(rates):,.0f} - {max(rates):,.0f})"
            f"  ratio {found['ratios'][way]:.2f}  CPU {median('cpu_us_per_record'):.1f} us/record"
            f" (loop {median('loop_cpu_us_per_record'):.1f})"
            f"  peak {median('peak_rss_mib'):.0f} MiB  {median('records_per_poll'):,.0f} a poll"
        )
    stages = found["rounds"]["daemon"]
    parts = {
        k: statistics.median(r["stage_us_per_record"].get(k, 0.0) for r in stages)
        for k in stages[0]["stage_us_per_record"]
    }
    print("  daemon, us/record by stage:", ", ".join(f"{k} {v:.2f}" for k, v in parts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--bootstrap", help="a broker; default: start the Kafka of KAFKA_HOME")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(json.loads(args.child))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with broker(args.bootstrap, folder) as bootstrap:
            print(f"{args.records:,} records, {args.rounds} rounds, load {os.getloadavg()[0]:.1f}")
            found = {}
            for size, numbers in SIZES.items():
                found[size] = measure(bootstrap, folder, args, numbers)
                show(size, found[size])
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
