"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The TOML config; `init` writes one.")
]
ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="CONFIG", help="The TOML config of the daemon.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
DEFAULT_CONFIG = Path("config.toml")
