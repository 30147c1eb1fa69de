"""Dashboards as the JSON that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.source.anomalies import anomalies
from deploy.grafana.source.model import model
from deploy.grafana.source.service import service

BOARDS = {"anomalies": anomalies, "model": model, "service": service}


def exported() -> dict[str, str]:
    """Return the JSON of each dashboard by the name of its file."""
    return {
        f"{name}.json": json.dumps(build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, build in BOARDS.items()
    }


def write(folder: Path) -> None:
    """Write each dashboard into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in exported().items():
        (folder / name).write_text(text, encoding="utf-8")
