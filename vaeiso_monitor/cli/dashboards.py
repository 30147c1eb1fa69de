"""``dashboards``: what Grafana shows of the daemon."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

_PAGE = re.compile(r" More: docs/(?P<page>\S+)$")


def dashboards(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the JSON files; made if need be.")
    ],
    docs: Annotated[
        str,
        typer.Option(
            "--docs",
            metavar="URL",
            help="Where the pages of documentation are served: each panel gets a link to its page.",
        ),
    ] = "",
) -> None:
    """Write the dashboards for Grafana: anomalies, model and isometry, service.

    Import them by hand (Dashboards, New, Import), or let Grafana provision the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = resources.files("vaeiso_monitor") / "dashboards"
    for file in sorted(kept.iterdir(), key=lambda file: file.name):
        board = json.loads(file.read_text(encoding="utf-8"))
        if docs:
            _link(board, docs.rstrip("/"))
        text = json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        (folder / file.name).write_text(text, encoding="utf-8")
        print(f"{folder / file.name}: {board['title']}")


def _link(board: dict[str, Any], docs: str) -> None:
    """Lead from each panel to the page that its description ends with, and to the runbooks."""
    board["links"].append(_to("Runbooks", f"{docs}/runbooks.md"))
    for panel in board["panels"]:
        if found := _PAGE.search(panel.get("description", "")):
            panel["links"] = [_to("What it means and what to do", f"{docs}/{found['page']}")]


def _to(title: str, url: str) -> dict[str, Any]:
    return {
        "title": title,
        "type": "link",
        "url": url,
        "targetBlank": True,
        "icon": "external link",
    }
