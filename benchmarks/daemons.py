"""Daemons to be measured or killed: how they are started, what they say, and how they end.

A nursery is a process that has the libraries loaded; it forks for every daemon, which then starts
in half a second instead of some. To the system such a daemon is a process like any other.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 180.0
_PR_SET_PDEATHSIG = 1


def until(
    holds: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS, pause: float = 0.02
) -> Any:
    """Poll until ``holds()`` is true and return it; TimeoutError when time is up."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
    return found


class Nursery:
    """Starts daemons; what still runs ends with it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def start(self, config: Path, log: Path) -> Daemon:
        """Start ``run`` on a config; the log is written anew."""
        log.write_bytes(b"")  # it may be looked at before the daemon is there
        return Daemon(self.fork(["run", str(config)], log), log)

    def fork(self, words: list[str], log: Path) -> Fork:
        """Start any verb with the environment of now; ``log`` gets what it says of itself."""
        environment = dict(os.environ)
        pid = self._ask({"words": words, "log": str(log), "environment": environment})
        return Fork(pid, lambda: self._ask({"wait": pid}))

    def close(self) -> None:
        with self._process:  # which closes its pipes and waits for it
            pass

    def _ask(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Fork:
    """A process that a nursery started, with those methods of ``subprocess.Popen`` it needs."""

    def __init__(self, pid: int, reap: Callable[[], int]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reap = reap
        self._end = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode if self._ended(0.0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; ``subprocess.TimeoutExpired`` if it does not."""
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float | None) -> bool:
        if self.returncode is None and select.select([self._end], [], [], seconds)[0]:
            self.returncode = self._reap()
            os.close(self._end)
        return self.returncode is not None


class Daemon:
    """One daemon: its log as events, its HTTP answers, and its end."""

    def __init__(self, process: Fork, log: Path) -> None:
        self.pid = process.pid
        self.log = log
        self._process = process
        self._client = httpx.Client(timeout=30)
        self._url = ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what it has logged under a name so far."""
        lines = self.log.read_bytes().split(b"\n")[:-1]
        mark = json.dumps(name).encode()
        found = [json.loads(line) for line in lines if mark in line and line.startswith(b"{")]
        return [event for event in found if event["event"] == name]

    def wait_for(self, holds: Callable[[], Any], what: str) -> Any:
        """Poll until ``holds()`` is true; RuntimeError with its last words if it ended instead."""

        def held() -> Any:
            if found := holds():
                return found
            if not Path(f"/proc/{self.pid}/exe").exists():
                raise RuntimeError(f"it ended before {what}: {self.log.read_text()[-2000:]}")
            return None

        return until(held, what)

    def ready(self) -> bool:
        try:
            return bool(self.get("/readyz").status_code == 200)
        except httpx.TransportError:
            return False

    def get(self, path: str) -> httpx.Response:
        return self._client.get(self._address() + path)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._client.post(self._address() + path, json=body)

    def status(self) -> dict[str, Any]:
        return self.get("/api/v1/status").json()  # type: ignore[no-any-return]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self._process.send_signal(number)
        self._client.close()
        return self._process.wait()

    def _address(self) -> str:
        if not self._url:
            heard = self.wait_for(lambda: self.events("listening"), "it listens")
            self._url = heard[0]["url"]
        return self._url


def trainers(pid: int) -> list[int]:
    """Return the processes that a daemon started to train."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = [int(word) for word in tasks.read_text().split()]
            found += [p for p in pids if b"lifecycle.child" in _words(p)]
        except OSError:
            continue
    return found


def _words(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _nurse() -> None:
    """Fork for every order that comes in; end what runs when no more can come."""
    import vaeiso_monitor.app
    import vaeiso_monitor.cli
    import vaeiso_monitor.settings  # noqa: F401 - loaded once, before the forks

    running: set[int] = set()
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
            running.discard(order["wait"])
        else:
            answer = os.fork()
            if answer == 0:
                _become_a_daemon(order)
            running.add(answer)
        print(answer, flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _become_a_daemon(order: dict[str, Any]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)
    for target, source in ((0, nothing), (1, nothing), (2, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["environment"])
    from vaeiso_monitor.cli import main

    code = 1
    try:
        code = main(order["words"])
    except BaseException:  # noqa: BLE001 - told as Python itself would
        traceback.print_exc()
    finally:
        logging.shutdown()
        os._exit(code)


if __name__ == "__main__":
    _nurse()
