"""KDDCUP99 (10 %) through the whole daemon: from a file, through Kafka, and as one Parquet.

    VAEISO_DATA=... python benchmarks/kddcup99.py write OUT     # records, truth, config
    vaeiso-monitor train OUT/file.toml --data OUT/train.jsonl
    python benchmarks/kddcup99.py produce OUT HOST:PORT TOPIC   # 4 partitions, key = id
    python benchmarks/kddcup99.py judge OUT/file/alerts.jsonl OUT/kafka/alerts.jsonl OUT

Protocol Z of DAGMM: a random half of everything trains, of it only the attacks (they are the
majority, 80 %, and so the normal class); the other half is the stream, in which ``normal.`` records
(20 %) are the anomalies to be found.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

ANOMALIES = 0.20  # the share that protocol Z flags

CONFIG = """\
# KDDCUP99: {kind}
[source]
{source}

[store]
path = "{out}/store"

[lifecycle]
path = "{out}/state"

[threshold]
alert_budget = {budget}

[alerts]
include_record = false
[[alerts.sinks]]
type = "file"
path = "{out}/{kind}/alerts.jsonl"
max_bytes = 0
fsync = false

[dead_letters]
[[dead_letters.sinks]]
type = "file"
path = "{out}/{kind}/dead_letters.jsonl"

[server]
port = 0

[schema]
key = "id"
"""


def load() -> tuple[list[str], np.ndarray, dict[str, list[str]], np.ndarray]:
    """Return column names, values [N, 41], the vocabularies of the text columns, and the truth."""
    path = Path(os.environ["VAEISO_DATA"]) / "kddcup99_10pct_raw.npz"
    with np.load(path, allow_pickle=False) as data:
        names = data["feature_names"].tolist()
        x = data["X"].astype(np.float64)
        for exact in ("src_bytes", "dst_bytes"):
            x[:, names.index(exact)] = data[f"{exact}_exact"]
        texts = {n: data[f"{n}_vocab"].tolist() for n in data["string_cat_names"].tolist()}
        return names, x, texts, data["y"].astype(bool)


def documents(
    names: list[str], x: np.ndarray, texts: dict[str, list[str]], ids: np.ndarray
) -> list[dict]:
    """Return records as a collector would send them: numbers as they are, texts as texts."""
    columns: list[list] = []
    for j, name in enumerate(names):
        column = x[:, j]
        if name in texts:
            columns.append([texts[name][int(v)] for v in column])
        elif np.array_equal(column, np.round(column)):
            columns.append(column.astype(np.int64).tolist())
        else:
            columns.append(np.round(column, 4).tolist())
    keys = ["id", *names]
    rows = zip(ids.tolist(), *columns, strict=True)
    return [dict(zip(keys, row, strict=True)) for row in rows]


def write(out: Path, seed: int, budget: float) -> None:
    """Write train.jsonl, stream.jsonl, stream.parquet, truth.npy and two configs into ``out``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, x, texts, anomaly = load()
    order = np.random.default_rng(seed).permutation(len(x))
    half = len(x) // 2
    train = np.sort(order[:half][~anomaly[order[:half]]])
    stream = order[half:]
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("stream", stream)):
        records = documents(names, x[rows], texts, rows)
        with (out / f"{name}.jsonl").open("w") as file:
            file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        pq.write_table(pa.Table.from_pylist(records), out / f"{name}.parquet")
    np.save(out / "truth.npy", anomaly)
    columns = "".join(
        f'\n[[schema.columns]]\nname = "{n}"\nkind = "{"category" if n in texts else "number"}"\n'
        for n in names
    )
    sources = {
        "file": f'type = "file"\npath = "{out}/stream.jsonl"\n'
        f'position_file = "{out}/file/position.json"',
        "kafka": 'type = "kafka"\nbootstrap_servers = ["127.0.0.1:9092"]\ntopics = ["kdd"]\n'
        'group_id = "kdd"\nauto_offset_reset = "earliest"',
    }
    for kind, source in sources.items():
        (out / kind).mkdir(exist_ok=True)
        text = CONFIG.format(kind=kind, source=source, out=out, budget=budget) + columns
        (out / f"{kind}.toml").write_text(text)
    found = anomaly[stream].sum()
    print(f"{len(train):,} to train on, {len(stream):,} to stream, {found:,} anomalies")


def produce(out: Path, bootstrap: str, topic: str) -> None:
    """Send the stream to a topic of 4 partitions, which is made if it is not there."""
    from kafka import KafkaProducer
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    if topic not in admin.list_topics():
        admin.create_topics([NewTopic(topic, num_partitions=4, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, batch_size=262_144)
    with (out / "stream.jsonl").open("rb") as lines:
        for number, line in enumerate(lines):
            producer.send(topic, line.rstrip(b"\n"), partition=number % 4)
    producer.flush(120)
    producer.close()


def judge(files: list[Path], out: Path) -> None:
    """Print F1 at the top 20 % of each alert file, and how far the files agree."""
    truth = np.load(out / "truth.npy")
    stream = sum(1 for _ in (out / "stream.jsonl").open("rb"))
    found = []
    for file in files:
        lines = map(json.loads, file.open())
        alerts = {a["record_key"]: a for a in lines if "alert_id" in a}
        ids = np.array(list(alerts))
        nats = np.array([np.inf if a["nats"] is None else a["nats"] for a in alerts.values()])
        flagged = round(ANOMALIES * stream)
        enough = "" if len(ids) >= flagged else f" (only {len(ids):,} alerts: F1 is a lower bound)"
        top = ids[np.argsort(-nats, kind="stable")[:flagged]]
        hits = truth[top].sum()
        positives = (out / "stream.jsonl").open("rb")
        total = sum(truth[json.loads(line)["id"]] for line in positives)
        precision, recall = hits / len(top), hits / total
        print(
            f"{file}: {len(alerts):,} alerts, top {flagged:,}: precision {precision:.4f}, recall "
            f"{recall:.4f}, F1 {2 * precision * recall / (precision + recall):.4f}{enough}"
        )
        found.append(dict(zip(ids.tolist(), nats.tolist(), strict=True)))
    for other in found[1:]:
        common = found[0].keys() & other.keys()
        worst = max(abs(found[0][i] - other[i]) / max(1.0, abs(other[i])) for i in common)
        print(
            f"only in the first: {len(found[0].keys() - other.keys())}, only in the other: "
            f"{len(other.keys() - found[0].keys())}, largest relative difference {worst:.2g}"
        )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("write")
    one.add_argument("out", type=Path)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--budget", type=float, default=0.02)
    two = verbs.add_parser("produce")
    two.add_argument("out", type=Path)
    two.add_argument("bootstrap")
    two.add_argument("topic")
    three = verbs.add_parser("judge")
    three.add_argument("files", type=Path, nargs="+")
    three.add_argument("out", type=Path)
    args = parser.parse_args()
    match args.verb:
        case "write":
            write(args.out.resolve(), args.seed, args.budget)
        case "produce":
            produce(args.out.resolve(), args.bootstrap, args.topic)
        case "judge":
            judge(args.files, args.out.resolve())


if __name__ == "__main__":
    main()
