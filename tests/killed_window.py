"""Kill a process that keeps a window, at random moments, and look at what it left.

Run as ``python -m tests.killed_window FOLDER ROUNDS SEED MAX_ROWS...``; prints a JSON document for
each ``MAX_ROWS``. A program of its own can fork, which a process with other threads should not.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import numpy as np

from vaeiso_monitor.lifecycle.window import Window, WindowConfig
from vaeiso_monitor.records import Column, Schema
from vaeiso_monitor.types import Records

SCHEMA = Schema((Column("serial"), Column("twice"), Column("name", kind="category")))
START = 1_700_000_000.0
AGE = 12_800.0  # slots of 100 seconds
BATCH = 20
PERIOD = 4.0  # seconds from one record to the next


def numbered(first: int, count: int) -> Records:
    """Return records whose values can be told apart and checked."""
    serial = np.arange(first, first + count, dtype=np.float64)
    return Records(np.column_stack([serial, 2 * serial]), [[f"r{s:.0f}" for s in serial]], serial)


def work(folder: Path, config: WindowConfig, first: int, report: int) -> None:
    """Keep records from ``first`` on, write them, and tell how far all is durable."""
    now = START + PERIOD * first
    window = Window(config, SCHEMA, folder, lambda: now, seed=first)
    while True:
        window.keep(numbered(first, BATCH), np.zeros(BATCH), np.zeros(BATCH, bool))
        first += BATCH
        now += PERIOD * BATCH
        window.flush()
        os.write(report, first.to_bytes(8, "little"))


def killed(folder: Path, config: WindowConfig, first: int, seconds: float, at_work: bool) -> int:
    """Let a child work for ``seconds``, kill it, and return how far it had written everything.

    The time counts from its first report if it is to be killed ``at_work``, else from its start.
    """
    told, report = os.pipe()
    child = os.fork()
    if child == 0:
        work(folder, config, first, report)
        os._exit(1)
    os.close(report)
    if at_work:
        select.select([told], [], [], 30)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(told, "rb") as pipe:
        words = pipe.read()
    return int.from_bytes(words[-8:], "little") if words else first


def look_after_each(folder: Path, rounds: int, max_rows: int, seed: int) -> dict[str, int]:
    """Kill as often as asked for and return what was found afterwards."""
    chance = random.Random(seed)
    config = WindowConfig(max_rows=max_rows, unfiltered_rows=max_rows // 4, max_age_seconds=AGE)
    first = 0
    found = dict.fromkeys(("rounds", "lost", "twice", "wrong", "most", "damaged", "left"), 0)
    for _ in range(rounds):
        at_work = chance.random() < 0.7
        durable = killed(folder, config, first, chance.uniform(0.0, 0.06), at_work)
        now = START + PERIOD * durable
        look = Window(config, SCHEMA, folder, lambda now=now: now, seed=0).snapshot()
        serial, names = look.records.numbers[:, 0], look.records.categories[0]
        due = np.arange(max(0, durable - int(AGE / PERIOD)) + BATCH, durable, dtype=np.float64)
        found["rounds"] += 1
        found["lost"] += int((~np.isin(due, serial)).sum()) if max_rows > AGE else 0
        found["twice"] += len(serial) - len(np.unique(serial))
        found["wrong"] += int((look.records.numbers[:, 1] != 2 * serial).sum())
        found["wrong"] += sum(n != f"r{s:.0f}" for n, s in zip(names, serial, strict=True))
        found["most"] = max(found["most"], len(look))
        found["damaged"] += look.ledger.damaged_segments
        found["left"] += len(list(folder.glob(".incoming-*")))
        # what was written but not told is in the window: go on behind it
        first = int(max(serial.max(initial=-1.0) + 1, durable))
    return found | {"reached": first}


if __name__ == "__main__":
    told = [
        look_after_each(Path(sys.argv[1]) / bound, int(sys.argv[2]), int(bound), int(sys.argv[3]))
        for bound in sys.argv[4:]
    ]
    sys.stdout.write(json.dumps(told) + "\n")
