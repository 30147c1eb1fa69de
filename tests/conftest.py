"""Fixtures that several test files share."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

with warnings.catch_warnings():
    # On Python 3.11 kafka-python reads its own package data with deprecated functions.
    warnings.filterwarnings("ignore", r"\w+_text is deprecated", DeprecationWarning)
    import kafka  # noqa: F401

from benchmarks.daemons import Nursery
from tests.brokers import EVERYTHING, NEEDED, Broker, real_kafka, tansu
from tests.certificates import write_certificates
from tests.plain import trained
from vaeiso_monitor.telemetry.logs import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vaeiso_monitor.bundle import Bundle


# What takes longest begins first, so that no worker is left with it when the others have ended.
_LONGEST = ("test_crashes", "test_kafka_end_to_end", "test_app_lifecycle", "test_sources_kafka")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin."""
    items.sort(key=lambda item: item.path.stem not in _LONGEST)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Take back what a verb of the command line set up: its stream ends with the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with certificates for servers on loopback."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def broker(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Broker]:
    """The broker at hand: KAFKA_TEST_BOOTSTRAP, else KAFKA_HOME, else Tansu."""
    given = os.environ.get("KAFKA_TEST_BOOTSTRAP")
    if given:
        yield Broker(given, frozenset({"groups", "aborted_transactions"}))
    elif os.environ.get("KAFKA_HOME"):
        certificates = request.getfixturevalue("certificates")
        yield from real_kafka(tmp_path_factory.mktemp("kafka"), certificates)
    else:
        yield from tansu(tmp_path_factory.mktemp("tansu"))


@pytest.fixture
def needs(broker: Broker) -> Callable[[str], None]:
    """Skip a test where the broker at hand lacks a capability; never in CI with a real Kafka."""

    def require(capability: str) -> None:
        assert capability in EVERYTHING
        if capability in broker.can:
            return
        assert not (os.environ.get("CI") and os.environ.get("KAFKA_HOME"))
        pytest.skip(f"needs a broker with {capability}: {NEEDED}")

    return require


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children start sooner whose coverage is of no use: who is killed cannot tell it."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Starts daemons in half a second each."""
    with closing(Nursery()) as started:
        yield started


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """A small bundle, trained once for all tests of the joints."""
    return trained()
