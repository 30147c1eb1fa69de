"""What the daemon shows over HTTP, and what may be asked of it there."""

from vaeiso_monitor.web.alerts import AlertQuery
from vaeiso_monitor.web.app import Behind, web_app
from vaeiso_monitor.web.condition import Condition, Drift, Problem, drift_of, problems
from vaeiso_monitor.web.config import ServerConfig
from vaeiso_monitor.web.server import Served, serve

__all__ = [
    "AlertQuery",
    "Behind",
    "Condition",
    "Drift",
    "Problem",
    "Served",
    "ServerConfig",
    "drift_of",
    "problems",
    "serve",
    "web_app",
]
