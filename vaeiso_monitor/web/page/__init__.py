"""The page at ``/``: static files of this package, and the chart library of the package plotly."""

from vaeiso_monitor.web.page.assets import Assets
from vaeiso_monitor.web.page.paths import page_paths

__all__ = ["Assets", "page_paths"]
