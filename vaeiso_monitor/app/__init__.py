"""The composition root of ``run``: settings become objects, objects become a daemon."""

from vaeiso_monitor.app.daemon import run
from vaeiso_monitor.app.stop import Stop, stopped_by_signals

__all__ = ["Stop", "run", "stopped_by_signals"]
