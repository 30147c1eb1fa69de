import io
import json
import logging
import warnings

import pytest
import structlog

from vaeiso_monitor.telemetry import LoggingConfig, configure_logging


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def log():
    stream = io.StringIO()
    configure_logging(LoggingConfig(format="json", levels={"kafka": "error"}), stream)
    return stream


def test_a_line_for_machines_has_event_level_component_time_and_values(log):
    structlog.get_logger("vaeiso_monitor.pipeline").info("batch finished", records=17)
    (line,) = lines(log)
    assert line["event"] == "batch finished"
    assert line["level"] == "info"
    assert line["logger"] == "vaeiso_monitor.pipeline"
    assert line["records"] == 17
    assert line["timestamp"].endswith("Z")


def test_the_libraries_speak_through_the_same_chain(log):
    logging.getLogger("uvicorn").warning("port %d is busy", 8490)
    assert lines(log)[0]["event"] == "port 8490 is busy"


def test_levels_hold_for_single_components(log):
    logging.getLogger("kafka.conn").warning("hidden")
    logging.getLogger("kafka.conn").error("shown")
    logging.getLogger("apscheduler.scheduler").info("hidden")
    structlog.get_logger("vaeiso_monitor").debug("hidden")
    assert [line["event"] for line in lines(log)] == ["shown"]


def test_secrets_are_never_written(log):
    structlog.get_logger("a").info(
        "connecting to kafka://bob:pw123@broker:9092",
        sasl_password="pw123",
        settings={"api_token": "pw123", "topic": "t", "urls": ["http://u:pw123@h/"]},
    )
    text = log.getvalue()
    assert "pw123" not in text
    assert lines(log)[0]["event"] == "connecting to kafka://***@broker:9092"
    assert lines(log)[0]["settings"]["topic"] == "t"


def test_an_exception_becomes_structured(log):
    try:
        int("no way")
    except ValueError:
        structlog.get_logger("a").exception("it broke")
        logging.getLogger("b").exception("it broke too")
    for line in lines(log):
        assert line["exception"][0]["exc_type"] == "ValueError"
        assert line["exception"][0]["exc_value"].endswith("'no way'")


def test_warnings_are_logged(log):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old option", stacklevel=1)
    assert "old option" in lines(log)[0]["event"]


def test_a_terminal_gets_short_lines():
    stream = Terminal()
    configure_logging(LoggingConfig(), stream)
    structlog.get_logger("a").info("model trained", seconds=3)
    assert "model trained" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_pipe_gets_json():
    stream = io.StringIO()
    configure_logging(LoggingConfig(), stream)
    structlog.get_logger("a").info("model trained")
    assert lines(stream)[0]["event"] == "model trained"


def test_debug_of_a_component_needs_no_debug_of_the_rest():
    stream = io.StringIO()
    config = LoggingConfig(level="warning", levels={"vaeiso_monitor.sources": "debug"})
    configure_logging(config, stream)
    structlog.get_logger("vaeiso_monitor.sources.kafka").debug("polled")
    structlog.get_logger("vaeiso_monitor.pipeline").info("hidden")
    assert [line["event"] for line in lines(stream)] == ["polled"]
