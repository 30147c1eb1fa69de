"""What a retraining costs the scoring: full-speed streaming from Kafka, without and with one.

    KAFKA_HOME=... python benchmarks/retraining.py [--rounds 4] [--idle 10] [--steps 2000] [--out F]
    python benchmarks/retraining.py --bootstrap HOST:PORT ...

One daemon reads one topic (4 partitions) from its beginning. Stretches without a retraining take
turns with retrainings, which are asked for over HTTP; between two of them the first model is put
back, so that each candidate beats it and is swapped in. The rate of a stretch is the records scored
in it; of a retraining, from the request to its end, all its phases counted. The latency of a batch
is the time from its last record read to its commit.

Every 5,000th record of a partition is an anomaly that no model can miss: its place is known, so
each must have raised its alert exactly once. No alert id may come twice.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.daemons import until  # noqa: E402
from benchmarks.throughput import PARTITIONS, broker, config, documents, train  # noqa: E402

EVERY = 5000  # one record in so many of a partition is an anomaly
BLOCK = EVERY * PARTITIONS  # different records; the topic repeats them
_BATCH_BYTES = 900_000
PAUSE_SECONDS = 3.0  # after a retraining, until the first model serves again
PHASES = ("gather", "train", "judge and swap")


def settings_of(args: argparse.Namespace, folder: Path, bootstrap: str, topic: str) -> dict:
    """Return the daemon's config: the benchmark of throughput's, with a lifecycle."""
    document = config(folder, bootstrap, topic, "retraining", args.numbers)
    return document | {
        "lifecycle": {"path": str(folder / "state")},
        "retrain": {"interval_seconds": 8640000.0, "min_records": 1000},
        "trainer": {"niceness": args.niceness},
        "training": {"max_steps": args.steps},
        "window": {"max_rows": args.window},
    }


# What the child processes do


def block(numbers: int) -> list[bytes]:
    """Return records of which the first ones go against all that the others have in common."""
    values = documents(BLOCK, numbers, seed=2)
    for i in range(PARTITIONS):
        record = json.loads(values[i])
        names = [name for name in record if name.startswith("sensor")]
        values[i] = json.dumps(
            record | {name: 500.0 * (-1) ** j for j, name in enumerate(names)},
            separators=(",", ":"),
        ).encode()
    return values


def batches(values: list[bytes]) -> list[bytes]:
    """Return records as Kafka's batches, each smaller than a broker takes."""
    from kafka.record.memory_records import MemoryRecordsBuilder

    found, now = [], round(1000 * time.time())
    for start in range(0, len(values), each := _BATCH_BYTES // max(map(len, values))):
        builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=2 * _BATCH_BYTES)
        for value in values[start : start + each]:
            assert builder.append(timestamp=now, key=None, value=value) is not None
        builder.close()
        found.append(bytes(builder.buffer()))
    return found


def fill(bootstrap: str, topic: str, numbers: int, count: int) -> None:
    """Write the topic: the same batches over and over, as a producer's work would take longer."""
    values = block(numbers)
    host, _, port = bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        for partition in range(PARTITIONS):
            parts = batches(values[partition::PARTITIONS])
            for _ in range(count // BLOCK):
                for part in parts:
                    _produce(connection, topic, partition, part)


def _produce(connection: socket.socket, topic: str, partition: int, records: bytes) -> None:
    """Send a Produce request of version 3 (https://kafka.apache.org/protocol) and hear it out."""
    name = topic.encode()
    body = struct.pack(f">hhihhhiih{len(name)}s", 0, 3, 0, -1, -1, 1, 30_000, 1, len(name), name)
    body += struct.pack(">iii", 1, partition, len(records))
    connection.sendall(struct.pack(">i", len(body) + len(records)) + body + records)
    (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
    answer = connection.recv(size, socket.MSG_WAITALL)
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name) + 4 + 4)
    if error:
        raise OSError(f"the broker refused records with error {error}")


class Watch:
    """What one run of the daemon tells, with the time of each."""

    def __init__(self) -> None:
        self.scored: list[tuple[float, int, float]] = []  # when, how many, the batch's latency
        self.events: list[tuple[float, str, str]] = []
        self.assignments: list[float] = []
        self.stages: list[tuple[float, str, float]] = []
        self._read: deque[float] = deque()

    def told(self, what: str, more: str = "") -> None:
        self.events.append((time.perf_counter(), what, more))

    def count(self, what: str) -> int:
        return sum(name == what for _, name, _ in self.events)

    def read(self) -> None:
        self._read.append(time.perf_counter())

    def finished(self, records: int) -> None:
        now = time.perf_counter()
        self.scored.append((now, records, now - self._read.popleft()))

    def to_dict(self) -> dict[str, Any]:
        return {
            "scored": self.scored,
            "events": self.events,
            "assignments": self.assignments,
            "stages": self.stages,
        }


def listen(watch: Watch) -> None:
    """Let the daemon of this process tell ``watch`` what happens to it."""
    from vaeiso_monitor.app import daemon
    from vaeiso_monitor.sources.kafka_offsets import Offsets
    from vaeiso_monitor.telemetry import Telemetry
    from vaeiso_monitor.telemetry.lifecycle import LifecycleTelemetry

    class Listening(Telemetry):
        def stage_finished(self, stage: str, seconds: float) -> None:
            if stage == "poll":
                watch.read()
            watch.stages.append((time.perf_counter(), stage, seconds))
            super().stage_finished(stage, seconds)

        def batch_scored(self, batch: Any) -> None:
            super().batch_scored(batch)
            watch.finished(batch.records)

    def telling(name: str) -> None:
        original = getattr(LifecycleTelemetry, name)

        def told(self: LifecycleTelemetry, *words: Any, **more: Any) -> None:
            original(self, *words, **more)
            watch.told(name, str(words[0]) if words else str(more))

        setattr(LifecycleTelemetry, name, told)

    for name in ("training_began", "judging", "training_ended", "swapped", "skipped"):
        telling(name)
    assigned = Offsets.on_partitions_assigned

    async def counted(self: Offsets, partitions: Any) -> None:
        watch.assignments.append(time.perf_counter())
        await assigned(self, partitions)

    Offsets.on_partitions_assigned = counted
    daemon.Telemetry = Listening


def alternate(watch: Watch, order: dict, url: list[str], stop: Any) -> None:
    """Ask for a retraining after each stretch without one; then stop the daemon."""
    from vaeiso_monitor import settings
    from vaeiso_monitor.bundle import BundleStore

    store = BundleStore(settings.parse(order["config"]).store)
    first = store.serving()
    assert first is not None
    try:
        until(lambda: watch.scored, "it scores")
        time.sleep(order["idle"] / 2)  # the first batches find cold caches
        for _ in range(order["rounds"]):
            _one_round(watch, order["idle"], url[0])
            store.promote(first)
            time.sleep(PAUSE_SECONDS)
        watch.told("idle")
        time.sleep(order["idle"])
        watch.told("over")
    except TimeoutError as error:
        watch.told("gave up", str(error))
    finally:
        stop.wish()


def _one_round(watch: Watch, idle: float, url: str) -> None:
    watch.told("idle")
    time.sleep(idle)
    if time.perf_counter() - watch.scored[-1][0] > 2.0:
        raise TimeoutError("the records came to their end")
    ended = watch.count("training_ended")
    watch.told("request")
    request = urllib.request.Request(
        f"{url}/api/v1/retrain", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
    until(lambda: watch.count("training_ended") > ended, "the retraining ends", 400.0)


def run(order: dict, out: Path) -> None:
    """Run the daemon in this process until the rounds are over."""
    from vaeiso_monitor import app, settings
    from vaeiso_monitor.telemetry import configure_logging

    loaded = settings.parse(order["config"])
    configure_logging(loaded.log)
    watch = Watch()
    listen(watch)
    stop, url = app.Stop(1500), [""]
    rounds = Thread(target=alternate, args=(watch, order, url, stop), daemon=True)

    def ready(found: str | None) -> None:
        url[0] = found or ""
        rounds.start()

    app.run(loaded, stop, None, ready)
    out.write_text(json.dumps(watch.to_dict()))


def child(order: dict) -> None:
    match order["do"]:
        case "train":
            train(order["config"], order["numbers"])
        case "run":
            run(order, Path(order["out"]))


# What the parent does


def do(order: dict) -> None:
    subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(order)], cwd=ROOT, check=True, timeout=1800
    )


def filled(bootstrap: str, args: argparse.Namespace) -> str:
    """Write a new topic and return its name."""
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    topic = f"retraining-{uuid.uuid4().hex[:8]}"
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        admin.wait_for_topics([topic])
    fill(bootstrap, topic, args.numbers, args.records)
    return topic


def committed(bootstrap: str, topic: str) -> list[int]:
    """Return how far the daemon got in each partition."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id="retraining")
    with closing(consumer):
        return [consumer.committed(TopicPartition(topic, p)) or 0 for p in range(PARTITIONS)]


def ids(folder: Path, ends: list[int]) -> dict[str, Any]:
    """Compare the alerts with the anomalies that were read."""
    files = sorted(folder.glob("retraining.alerts.jsonl*"))
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    alerts = [alert for alert in map(json.loads, lines) if "alert_id" in alert]
    times = Counter(alert["alert_id"] for alert in alerts)
    where = Counter((a["source"]["partition"], a["source"]["offset"]) for a in alerts)
    due = {(p, offset) for p, end in enumerate(ends) for offset in range(0, end, EVERY)}
    return {
        "alerts": len(alerts),
        "repeated_ids": sum(n > 1 for n in times.values()),
        "planted": len(due),
        "planted_lost": len(due - where.keys()),
        "planted_repeated": sum(where[place] > 1 for place in due),
        "versions": dict(Counter(alert["model"]["version"] for alert in alerts)),
    }


def stretches(events: list[list]) -> Iterator[tuple[str, float, float]]:
    """Yield every stretch (without, with, and the phases of the latter) with its ends."""
    for (began, name, _), (ended, _, _) in pairwise(e for e in events if e[1] != "swapped"):
        if name == "idle":
            yield "without", began, ended
        if name in ("request", "training_began", "judging"):
            yield PHASES[("request", "training_began", "judging").index(name)], began, ended
    asked = [at for at, name, _ in events if name == "request"]
    ended = [at for at, name, _ in events if name == "training_ended"]
    yield from (("with", *ends) for ends in zip(asked, ended, strict=False))


def figures(told: dict[str, Any]) -> dict[str, Any]:
    """Return for each kind of stretch its rates, and the latency of its batches."""
    at, records, latency = (np.array(column) for column in zip(*told["scored"], strict=True))
    found: dict[str, Any] = {}
    for name, began, ended in stretches(told["events"]):
        if ended > at[-1] + 1.0:  # the records had come to their end
            continue
        inside = (at > began) & (at <= ended)
        kind = found.setdefault(name, {"rates": [], "seconds": [], "latency": []})
        kind["rates"].append(float(records[inside].sum() / (ended - began)))
        kind["seconds"].append(ended - began)
        kind["latency"] += latency[inside].tolist()
    for kind in found.values():
        late = kind.pop("latency")
        names = ("p50_ms", "p99_ms", "max_ms")
        points = np.quantile(late, [0.5, 0.99, 1.0]) if late else [float("nan")] * 3
        kind |= {name: 1000 * float(v) for name, v in zip(names, points, strict=True)}
        kind["batches"] = len(late)
    return found


def summary(told: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return the ratio of medians, and what happened to the group and to the model."""
    without, beside = (statistics.median(found[name]["rates"]) for name in ("without", "with"))
    pairs = zip(found["with"]["rates"], pairwise(found["without"]["rates"]), strict=False)
    return {
        "ratio": beside / without,
        "ratio_of_each": [rate / statistics.mean(around) for rate, around in pairs],
        "rebalances": len(told["assignments"]) - 1,
        "outcomes": [words for _, name, words in told["events"] if name == "training_ended"],
        "swaps": sum(name == "swapped" for _, name, _ in told["events"]),
        "longest_gap_seconds": float(np.diff([at for at, _, _ in told["scored"]]).max()),
    }


def measure(args: argparse.Namespace, bootstrap: str, folder: Path) -> dict[str, Any]:
    topic = filled(bootstrap, args)
    document = settings_of(args, folder, bootstrap, topic)
    few = document | {"training": {"max_steps": 20}}
    do({"do": "train", "config": few, "numbers": args.numbers})
    out = folder / "told.json"
    order = {"do": "run", "config": document, "rounds": args.rounds, "idle": args.idle}
    before = os.getloadavg()[0]
    do(order | {"out": str(out)})
    told = json.loads(out.read_text())
    found = figures(told)
    if not {"with", "without"} <= found.keys():
        sys.exit("the records came to their end before a retraining did: raise --records")
    return {
        "load": [before, os.getloadavg()[0]],
        "stretches": found,
        **summary(told, found),
        "ids": ids(folder, committed(bootstrap, topic)),
        "stage_us_per_record": stages(told),
    }


def stages(told: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the microseconds a record of each stage of the loop, without and with a retraining."""
    shares: dict[str, dict[str, float]] = {}
    ends = [(name, b, e) for name, b, e in stretches(told["events"]) if name in ("without", "with")]
    for kind in ("without", "with"):
        spans = [(began, ended) for name, began, ended in ends if name == kind]
        records = sum(n for at, n, _ in told["scored"] for b, e in spans if b < at <= e)
        spent: Counter[str] = Counter()
        for at, stage, seconds in told["stages"]:
            if any(began < at <= ended for began, ended in spans):
                spent[stage] += seconds
        shares[kind] = {stage: 1e6 * value / max(records, 1) for stage, value in spent.items()}
    return shares


def show(found: dict[str, Any]) -> None:
    print(f"load {found['load'][0]:.1f} before, {found['load'][1]:.1f} after")
    print("| stretch | n | seconds | records/s (range) | p50 | p99 | longest batch |")
    print("|---|---|---|---|---|---|---|")
    for name, kind in found["stretches"].items():
        rates, seconds = kind["rates"], statistics.median(kind["seconds"])
        print(
            f"| {name} | {len(rates)} | {seconds:.1f} | {statistics.median(rates):,.0f} "
            f"({min(rates):,.0f} - {max(rates):,.0f}) | {kind['p50_ms']:.0f} ms "
            f"| {kind['p99_ms']:.0f} ms | {kind['max_ms']:.0f} ms |"
        )
    each = ", ".join(f"{ratio:.2f}" for ratio in found["ratio_of_each"])
    print(f"ratio of medians {found['ratio']:.2f} (each beside its neighbours: {each})")
    for name in ("rebalances", "swaps", "outcomes", "longest_gap_seconds", "ids"):
        print(f"{name}: {found[name]}")
    for kind, parts in found["stage_us_per_record"].items():
        print(f"{kind}, us/record:", ", ".join(f"{k} {v:.2f}" for k, v in parts.items()))


@contextmanager
def workplace(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--bootstrap", help="a broker; default: start the Kafka of KAFKA_HOME")
    parser.add_argument("--records", type=int, default=6_000_000, help="in the topic")
    parser.add_argument("--numbers", type=int, default=5, help="numeric fields of a record")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds without a retraining")
    parser.add_argument("--steps", type=int, default=2000, help="of a training, at most")
    parser.add_argument("--window", type=int, default=200_000, help="records of the window")
    parser.add_argument("--niceness", type=int, default=15, help="of the trainer")
    parser.add_argument("--out", type=Path, help="write the figures here too (JSON)")
    parser.add_argument("--folder", type=Path, help="work here, and leave it as it is")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(json.loads(args.child))
        return
    with workplace(args.folder) as folder, broker(args.bootstrap, folder) as bootstrap:
        found = measure(args, bootstrap, folder)
    show(found)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
