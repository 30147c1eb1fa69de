"""What the storm is made of: a producer that can be disturbed, a webhook that can refuse."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

from vaeiso_monitor.sources.plant import PlantConfig, PlantSource

_EVERY_SECONDS = 0.1
_GARBAGE_EVERY = 10


class Producer:
    """Appends a station's records to a file, at a rate, healthy until told otherwise.

    A faulty record is the healthy one of the same moment with a fault in it. The machines of this
    station do not age: what is found is the storm.
    """

    def __init__(self, path: Path, history: int, rate: float) -> None:
        self._path, self._rate = path, rate
        self._healthy, self._faulty = _records(0.0), _records(0.3)
        self._storm = self._garbage = self._paused = False
        self._stopped = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._write(history)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def storm(self, on: bool) -> None:
        self._storm = on

    def garbage(self, on: bool) -> None:
        self._garbage = on

    def pause(self, on: bool) -> None:
        self._paused = on

    def _run(self) -> None:
        owed, last = 0.0, time.monotonic()
        while not self._stopped.wait(_EVERY_SECONDS):
            now = time.monotonic()
            owed, last = owed + (now - last) * self._rate, now
            if self._paused:
                owed = 0.0
            self._write(int(owed))
            owed -= int(owed)

    def _write(self, count: int) -> None:
        lines = []
        for number in range(count):
            healthy, faulty = next(self._healthy), next(self._faulty)
            line = faulty if self._storm else healthy
            broken = self._garbage and number % _GARBAGE_EVERY == 0
            lines.append(b"garbage\n" if broken else line + b"\n")
        with self._path.open("ab") as file:
            file.writelines(lines)


def _records(share: float) -> Iterator[bytes]:
    config = PlantConfig(rate_per_second=0, faults_after=0, fault_share=share, drift=0.0)
    source = PlantSource(config)
    while (polled := source.poll(500, 0.0)) is not None:
        yield from polled.batch.payload


class Receiver:
    """A webhook on loopback that takes what it gets, or answers 503."""

    def __init__(self) -> None:
        receiver = self
        self.taken = 0
        self._refusing = False

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.taken += not receiver._refusing
                self.send_response(503 if receiver._refusing else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def refuse(self, on: bool) -> None:
        self._refusing = on

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
