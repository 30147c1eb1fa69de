"""kill -9 at random moments of a retraining, and what is there afterwards.

    python benchmarks/crashes.py [--times 50] [--kinds trainer,candidate,pointer] [--together]

trainer    the process that trains is killed: every second time anywhere between its start and its
           end, else within 10 ms of beginning to write the candidate
candidate  the daemon is killed: by turns anywhere between the request and the end of a retraining,
           between the moment that the trainer wrote the candidate and that end, and within 20 ms
           of beginning to write to the store
pointer    the daemon is killed about the moment that the store's pointer moves: the store is
           watched from outside, and a random pause of up to 2 ms follows what is seen

After each kill the store, the window, the alert history and the requests are opened. Then a daemon
starts on what was left. It must serve what the pointer names, without a training; nothing half
written may stay; records that came meanwhile must raise their alerts; a verdict that was asked for
just before the kill must be given. The trainer's daemon is ended as an operator would end it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.daemons import Daemon, Nursery, trainers, until  # noqa: E402
from tests.plain import RECIPE, SCHEMA, anomaly, config, documents, raw  # noqa: E402

KINDS = ("trainer", "candidate", "pointer")
PREPARED = 1500  # records that the first daemon finds
ADDED, ANOMALOUS = 40, 2  # records that come at once with a request, and anomalies among them
CANDIDATES = 400  # steps of a training
LIFECYCLE = """
[window]
flush_seconds = 0.2

[retrain]
interval_seconds = 864000
min_records = 300
retry_seconds = 21600

[gate]
min_records = 40

[trainer]
niceness = 0
"""
_TOLD = ("verdict", "swapped", "training_ended")
_IN_MOVED_TO, _IN_CREATE = 0x80, 0x100


class Place:
    """The folder of one daemon: its config, its records, its store."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        from vaeiso_monitor.bundle import BundleStore, StoreConfig

        self.folder, self.state = folder, folder / "state"
        self._rng = np.random.default_rng(rng.integers(1 << 32))  # of another thread
        self._records = folder / "records.jsonl"
        self._records.touch()
        self.config = config(folder, self._records, follow=True, extra=LIFECYCLE)
        text = self.config.read_text().replace("max_steps = 200", f"max_steps = {CANDIDATES}")
        text = text.replace("latent_dim = 2", "latent_dim = 1")  # with nothing to be skew to
        path = f'path = "{folder}/store"'
        self.config.write_text(text.replace(path, f"{path}\nmax_bundles = 4"))
        self.store = BundleStore(StoreConfig(path=str(folder / "store"), max_bundles=4))
        self.written = 0
        self.due: set[int] = set()  # keys of the anomalies
        self.first = ""  # the version that every retraining finds serving

    def prepare(self) -> None:
        """Let a model serve that hardly learned anything, and write the first records."""
        from vaeiso_monitor.detector import train
        from vaeiso_monitor.model import TrainingConfig
        from vaeiso_monitor.records import Decoder

        records, _ = Decoder(SCHEMA).decode(raw(list(documents(1500))))
        recipe = replace(RECIPE, training=TrainingConfig(max_steps=10, seed=1))
        recipe = replace(recipe, model=replace(recipe.model, latent_dim=1))
        bundle = train(records, SCHEMA, recipe)
        self.store.add(bundle)
        self.store.promote(bundle.version)
        self.first = bundle.version
        self.append(PREPARED, PREPARED // 50)

    def append(self, count: int, anomalies: int) -> None:
        lines = documents(count, seed=self.written, start=self.written)
        for i in self._rng.choice(count, anomalies, replace=False).tolist():
            lines[i] = anomaly(self.written + i)
            self.due.add(self.written + i)
        with self._records.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        self.written += count

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Let records come all the time during the block."""
        over = Event()

        def flow() -> None:
            while not over.wait(0.1):
                self.append(5, int(self._rng.random() < 0.2))

        thread = Thread(target=flow)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def alerted(self) -> set[int]:
        path = self.folder / "alerts.jsonl"
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        return {json.loads(line)["record_key"] for line in lines if line.endswith(b"}")}

    def leftovers(self) -> list[str]:
        """Return what is half written: hidden files anywhere, and folders of trainings."""
        left = [p for p in self.folder.rglob("*") if p.name.startswith(".")]
        return sorted(str(p.relative_to(self.folder)) for p in left + self.workplaces())

    def workplaces(self) -> list[Path]:
        return list((self.state / "training").glob("*"))

    def unjudged(self) -> str | None:
        """Return the id of an alert that waits for a verdict."""
        rows = self._query("SELECT alert_id FROM alerts WHERE verdict IS NULL ORDER BY number DESC")
        return rows[0][0] if rows else None

    def judged(self, alert_id: str) -> bool:
        return bool(
            self._query("SELECT 1 FROM alerts WHERE alert_id = ? AND verdict = 'anomaly'", alert_id)
        )

    def _query(self, words: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.state / "alerts.sqlite", timeout=10)) as connection:
            return connection.execute(words + " LIMIT 1", values).fetchall()

    def broken(self) -> list[str]:
        """Say what of this cannot be used, as it was left by a kill; nothing is changed."""
        found = []
        for version in [None, *self.store.versions()]:
            try:
                whole = self.store.load(version) if version else self.store.current()
            except Exception as error:  # noqa: BLE001 - whatever breaks is a finding
                found.append(f"bundle {version or 'that serves'}: {error}")
            else:
                found += [] if whole else ["no bundle serves"]
        with tempfile.TemporaryDirectory() as name:
            copy = Path(name) / "state"
            shutil.copytree(self.state, copy, ignore=_gone)
            try:
                found += _broken_state(copy)
            except Exception as error:  # noqa: BLE001 - whatever breaks is a finding
                found.append(f"state: {error!r}")
        return found


def _gone(folder: str, names: list[str]) -> list[str]:
    """Leave out what is not looked at, and goes while a daemon runs: the work of trainings."""
    del folder
    return [name for name in names if name == "training"]


def _broken_state(copy: Path) -> list[str]:
    from vaeiso_monitor.lifecycle import AlertHistory, HistoryConfig, Spool, Window, WindowConfig

    found = []
    with closing(Window(WindowConfig(), SCHEMA, copy / "window")) as window:
        snapshot = window.snapshot()
    if snapshot.ledger.damaged_segments:
        found.append(f"window: {snapshot.ledger.damaged_segments} damaged segments")
    if len(snapshot) < PREPARED // 2:
        found.append(f"window: {len(snapshot)} records are left")
    with closing(sqlite3.connect(copy / "alerts.sqlite")) as connection:
        said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if said != "ok":
        found.append(f"history: {said}")
    with closing(AlertHistory(HistoryConfig(), SCHEMA, copy)) as history:
        if history.get("none") is not None:
            found.append("history: it knows what it cannot know")
    Spool(copy / "requests").pending()
    if aside := [p.name for p in copy.rglob("*") if p.name.endswith((".damaged", ".refused"))]:
        found.append(f"set aside: {aside}")
    return found


@dataclass
class Course:
    """How long the parts of a retraining took when nobody was killed, in seconds."""

    whole: float = 0.0
    trainer: float = 0.0
    after_writing: float = 0.0


@dataclass
class Result:
    """What came of the kills of one kind: where they fell, and what was wrong afterwards."""

    kills: int = 0
    where: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    seconds: float = 0.0
    course: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kills": self.kills,
            "where": dict(self.where),
            "wrong": self.wrong,
            "seconds": round(self.seconds),
            "undisturbed_seconds": self.course,
            "restart_seconds_median": float(np.median(self.restarts)) if self.restarts else None,
        }


class Lane:
    """Kills, over and over in one folder."""

    def __init__(self, folder: Path, nursery: Nursery, seed: int) -> None:
        self._kind = "nothing"
        self._rng = np.random.default_rng(seed)
        self._place = Place(folder, self._rng)
        self._nursery = nursery
        self._course = Course()
        self._starts = 0
        self._judgement: str | None = None
        self._before: Counter[str] = Counter()
        self.result = Result()

    def run(self, kinds: Sequence[str], course: Course | None = None) -> Result:
        """Kill once for each kind; ``course`` spares the retraining that nobody disturbs."""
        began = time.monotonic()
        self._place.prepare()
        daemon = self._start()
        if course is None:
            self._rehearse(daemon)
        else:
            self._course = course
        while self.result.kills < len(kinds):
            daemon = self._turn(daemon, kinds[self.result.kills])
            self._tell(len(kinds))
        daemon.end()
        self.result.seconds = time.monotonic() - began
        return self.result

    def _turn(self, daemon: Daemon, kind: str) -> Daemon:
        """Try to kill once; return the daemon that runs afterwards."""
        kill = {
            "trainer": self._kill_trainer,
            "candidate": self._kill_while_written,
            "pointer": self._kill_about_the_pointer,
        }[kind]
        self._kind = kind
        self._settle(daemon)
        self._give_work(daemon)
        with self._place.flowing():
            killed = kill(daemon)
        if not killed:
            return daemon
        self.result.kills += 1
        self._note(self._place.broken())
        return self._start()

    def _start(self) -> Daemon:
        """Start a daemon on what is there, and look whether all is well."""
        place, began = self._place, time.monotonic()
        pointer = place.store.serving()
        log = place.folder / f"log-{self._starts}"
        self._starts += 1
        daemon = self._nursery.start(place.config, log)
        daemon.wait_for(daemon.ready, "it is ready")
        self.result.restarts.append(time.monotonic() - began)
        wrong = []
        served = daemon.wait_for(lambda: daemon.events("serving"), "it says what it serves")
        if (first := served[0]["version"]) != pointer:
            wrong.append(f"it serves {first}, the pointer names {pointer}")
        for what, holds in (
            ("the store and the state are clean", lambda: not place.leftovers()),
            ("every anomaly has its alert", lambda: place.due <= place.alerted()),
            ("the verdict is given", self._verdict_given),
        ):
            try:
                until(holds, what, 20.0)
            except TimeoutError:
                wrong.append(f"not so: {what} {place.leftovers()}")
                self._forgive()
        if daemon.events("training_started") or daemon.events("cold_start"):
            wrong.append("it trains anew")
        self._note(wrong)
        return daemon

    def _verdict_given(self) -> bool:
        return self._judgement is None or self._place.judged(self._judgement)

    def _forgive(self) -> None:
        """Remove what is left, so that one fault is counted once."""
        for name in self._place.leftovers():
            path = self._place.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _note(self, wrong: list[str]) -> None:
        for words in wrong:
            self.result.wrong.append(f"{self._kind} {self.result.kills}: {words}")
            print(" ", self.result.wrong[-1], flush=True)

    def _settle(self, daemon: Daemon) -> None:
        """Let the first model serve again, as an operator would."""
        place = self._place
        if place.store.serving() == place.first:
            return
        before = len(daemon.events("swapped"))
        place.store.promote(place.first)
        daemon.wait_for(lambda: len(daemon.events("swapped")) > before, "the first serves again")

    def _give_work(self, daemon: Daemon) -> None:
        """Send records, a verdict and the wish for a training."""
        from vaeiso_monitor.lifecycle import Spool

        self._place.append(ADDED, ANOMALOUS)
        self._before = Counter({name: len(daemon.events(name)) for name in _TOLD})
        assert daemon.post("/api/v1/retrain", {}).status_code == 202
        self._place.append(ADDED, ANOMALOUS)
        self._judgement = self._place.unjudged()
        if self._judgement is not None:
            body = {"alert_id": self._judgement, "verdict": "anomaly", "note": ""}
            Spool(self._place.state / "requests").put("feedback", body)

    def _new(self, daemon: Daemon, name: str) -> list[dict[str, Any]]:
        """Return what was told since the work was given."""
        return daemon.events(name)[self._before[name] :]

    def _rehearse(self, daemon: Daemon) -> None:
        """Measure a retraining that nobody disturbs."""
        self._give_work(daemon)
        began = time.monotonic()
        child = daemon.wait_for(lambda: trainers(daemon.pid), "a trainer starts")[0]
        daemon.wait_for(self._written, "the candidate is written")
        written = time.monotonic()
        until(lambda: not Path(f"/proc/{child}/exe").exists(), "the trainer ends")
        self._course.trainer = time.monotonic() - began
        daemon.wait_for(lambda: self._new(daemon, "training_ended"), "the training ends")
        self._course.whole = time.monotonic() - began
        self._course.after_writing = time.monotonic() - written
        self.result.course = asdict(self._course)
        status = daemon.events("training_ended")[-1]
        if status["status"] != "promoted":
            self._note([f"undisturbed, it was not promoted: {status}"])

    def _written(self) -> bool:
        return any((place / "candidate").exists() for place in self._place.workplaces())

    def _kill_trainer(self, daemon: Daemon) -> bool:
        child = daemon.wait_for(lambda: trainers(daemon.pid), "a trainer starts")[0]
        living = Path(f"/proc/{child}/exe")
        if self.result.kills % 2:
            until(lambda: self._written() or not living.exists(), "it writes", pause=0.002)
            time.sleep(self._rng.choice([0.0, self._rng.uniform(0.0, 0.01)]))
        else:
            time.sleep(self._rng.uniform(0.0, self._course.trainer))
        in_time, written = living.exists(), self._written()
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        daemon.wait_for(lambda: self._new(daemon, "training_ended"), "it takes note")
        if not in_time:
            self.result.where["it had ended already, no kill"] += 1
            return False
        self._look_after(daemon, written)
        daemon.end()
        return True

    def _look_after(self, daemon: Daemon, written: bool) -> None:
        """See what the daemon made of the end of its trainer."""
        place = self._place
        if daemon.events("training_ended")[-1]["status"] != "failed":
            self.result.where["when it had told of its end"] += 1
        else:
            self.result.where["while it wrote" if written else "while it started or trained"] += 1
            if place.store.serving() != place.first:
                self._note(["the daemon does not serve what it served"])
        if not daemon.ready():
            self._note(["the daemon is not ready"])
        if left := place.workplaces():
            self._note([f"the daemon left the work of its trainer: {left}"])

    def _kill_while_written(self, daemon: Daemon) -> bool:
        match self.result.kills % 3:
            case 0:
                time.sleep(self._rng.uniform(0.0, self._course.whole))
            case 1:
                daemon.wait_for(self._written, "the candidate is written")
                time.sleep(self._rng.uniform(0.0, self._course.after_writing))
            case _:
                with watching(self._place.store.path / "bundles") as seen:
                    while not any(name.startswith(".incoming-") for name in seen(0.2)):
                        if self._new(daemon, "training_ended"):
                            return False
                    time.sleep(self._rng.uniform(0.0, 0.02))
        daemon.end(signal.SIGKILL)
        self.result.where[self._fell(daemon)] += 1
        return True

    def _kill_about_the_pointer(self, daemon: Daemon) -> bool:
        """Kill when the new pointer is there beside the old one, or has just taken its place."""
        wanted = ".serving-" if self.result.kills % 5 == 0 else "serving"
        with watching(self._place.store.path) as seen:
            while not any(name.startswith(wanted) for name in seen(0.2)):
                if self._new(daemon, "training_ended"):
                    self.result.where["refused by the gate, no kill"] += 1
                    return False
            time.sleep(self._rng.choice([0.0, self._rng.uniform(0.0, 0.002)]))
            daemon.end(signal.SIGKILL)
        self.result.where[self._fell(daemon)] += 1
        return True

    def _fell(self, daemon: Daemon) -> str:
        """Say by the log and the store when a kill came."""
        moved = self._place.store.serving() != self._place.first
        written = self._written()
        if self._new(daemon, "training_ended"):
            return "after the end"
        if self._new(daemon, "swapped"):
            return "after the swap"
        if moved:
            return "between pointer and swap"
        if self._new(daemon, "verdict"):
            left = [p.name for p in self._place.store.path.rglob(".*")]
            if any(name.startswith(".serving-") for name in left):
                return "while the pointer was written"
            return "while the store was written" if left else "judged, before the pointer moved"
        if written:
            return "written by the trainer, not judged"
        return "before the candidate was written"

    def _tell(self, times: int) -> None:
        if self.result.kills % 10 == 0:
            faults = len(self.result.wrong)
            print(f"  {self._kind}: {self.result.kills} of {times}, {faults} faults", flush=True)


@contextmanager
def watching(folder: Path) -> Iterator[Callable[[float], list[str]]]:
    """Yield a function that waits for names to appear in a folder, and returns them."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    libc.inotify_add_watch(descriptor, os.fsencode(folder), _IN_CREATE | _IN_MOVED_TO)

    def seen(seconds: float) -> list[str]:
        if not select.select([descriptor], [], [], seconds)[0]:
            return []
        found, names = os.read(descriptor, 65536), []
        while found:
            length = int.from_bytes(found[12:16], sys.byteorder)
            names.append(found[16 : 16 + length].rstrip(b"\0").decode())
            found = found[16 + length :]
        return names

    try:
        yield seen
    finally:
        os.close(descriptor)


def crashes(kinds: Sequence[str], seed: int = 0, course: Course | None = None) -> Result:
    """Kill once for each kind, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name, closing(Nursery()) as nursery:
        return Lane(Path(name).resolve(), nursery, seed).run(kinds, course)


def show(found: dict[str, dict[str, Any]]) -> None:
    print("\n| killed | kills | faults afterwards | ready again after (median) | the kills fell |")
    print("|---|---|---|---|---|")
    for kind, result in found.items():
        fell = ", ".join(f"{words} {n}" for words, n in sorted(result["where"].items()))
        again = result["restart_seconds_median"]
        print(f"| {kind} | {result['kills']} | {len(result['wrong'])} | {again:.1f} s | {fell} |")
    for result in found.values():
        for words in result["wrong"]:
            print(" ", words)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--together", action="store_true", help="the kinds at the same time")
    parser.add_argument("--out", type=Path, help="write the figures here too (JSON)")
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    print(f"{args.times} kills each, load {os.getloadavg()[0]:.1f}", flush=True)
    if args.together and len(kinds) > 1:
        found = _together(kinds, args)
    else:
        found = {kind: crashes([kind] * args.times, args.seed).to_dict() for kind in kinds}
    show(found)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1))
    return int(any(result["wrong"] for result in found.values()))


def _together(kinds: list[str], args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        outs = {kind: Path(name) / f"{kind}.json" for kind in kinds}
        words = [sys.executable, str(Path(__file__).resolve()), "--times", str(args.times)]
        words += ["--seed", str(args.seed)]
        lanes = [
            subprocess.Popen([*words, "--kinds", kind, "--out", str(out)], cwd=ROOT)
            for kind, out in outs.items()
        ]
        for lane in lanes:
            lane.wait()
        return {
            kind: next(iter(json.loads(out.read_text()).values())) for kind, out in outs.items()
        }


if __name__ == "__main__":
    sys.exit(main())
