"""``python -m deploy.grafana.source`` writes the dashboards where the program finds them."""

from __future__ import annotations

from pathlib import Path

from deploy.grafana.source.export import write

if __name__ == "__main__":
    write(Path(__file__).parents[3] / "vaeiso_monitor" / "dashboards")
