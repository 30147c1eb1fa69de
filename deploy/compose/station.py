"""The simulated pumping station as a producer: JSON records to a Kafka topic, at a steady pace.

Started again it goes on where the topic ends, so that the station's clock never goes back. A topic
that is empty gets a past of healthy records at once, enough to train the first model on.
"""

from __future__ import annotations

import argparse
import signal
import time
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from vaeiso_monitor.sources.plant import PlantConfig, PlantSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BATCH = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Produce until SIGTERM, or until so many records were produced as ``--records`` says."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    there = _records_in(options.bootstrap_servers, options.topic)
    plant = PlantSource(
        PlantConfig(
            rate_per_second=options.rate,
            history_records=max(options.history, there),
            faults_after=options.history + round(5 * options.rate),
        )
    )
    producer = KafkaProducer(bootstrap_servers=options.bootstrap_servers, linger_ms=50)
    try:
        for value in islice(_values(plant), there, options.records):
            producer.send(options.topic, value)
    except KeyboardInterrupt:
        pass
    finally:
        producer.flush(30)
        producer.close()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", default="localhost:29092")
    parser.add_argument("--topic", default="station")
    parser.add_argument("--rate", type=float, default=200.0, help="records a second")
    parser.add_argument(
        "--history", type=int, default=30_000, help="records that are there at once"
    )
    parser.add_argument("--records", type=int, help="end when the topic has so many")
    return parser.parse_args(arguments)


def _records_in(servers: str, topic: str, patience_seconds: float = 60.0) -> int:
    """Return how many records the topic's only partition has had."""
    partition = TopicPartition(topic, 0)
    deadline = time.monotonic() + patience_seconds
    with closing(KafkaConsumer(bootstrap_servers=servers)) as consumer:
        while not consumer.partitions_for_topic(topic):
            if time.monotonic() > deadline:
                msg = f"the topic {topic} does not exist at {servers}"
                raise SystemExit(msg)
            time.sleep(0.5)
        return int(consumer.end_offsets([partition])[partition])


def _values(plant: PlantSource) -> Iterable[bytes]:
    while (polled := plant.poll(_BATCH, timeout=1.0)) is not None:
        yield from polled.batch.payload


if __name__ == "__main__":
    main()
