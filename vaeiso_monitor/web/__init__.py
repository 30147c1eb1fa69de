"""What the daemon shows over HTTP: metrics, health, readiness and its status."""

from vaeiso_monitor.web.app import web_app
from vaeiso_monitor.web.server import Served, ServerConfig, serve

__all__ = ["Served", "ServerConfig", "serve", "web_app"]
