"""The drift alert: the ruler bent, or the inputs moved, for more than one check."""

from __future__ import annotations

from typing import Literal

import msgspec

from vaeiso_monitor.alerts.words import SCHEMA_VERSION


class DriftAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert about the model as a whole: what it measures with, or what it is fed, has changed.

    ``kind`` is isometry (the ruler bent) or inputs (features moved). One is sent when a drift
    begins and one when it ends. ``names`` are the quantities, latents or features that drifted.
    """

    schema_version: int = SCHEMA_VERSION
    type: str = "drift"
    kind: Literal["isometry", "inputs"]
    status: Literal["started", "ended"]
    detected_at: str
    model_version: str
    records: int
    names: list[str]
    sentence: str
    action: str

    @property
    def key(self) -> bytes:
        """Return what drifted in which model, and since when."""
        return f"drift:{self.kind}:{self.model_version}:{self.detected_at}:{self.status}".encode()

    def to_json(self) -> bytes:
        """Return the message as one JSON document."""
        return msgspec.json.encode(self)

    def to_text(self) -> str:
        """Return the message for a terminal."""
        what = "the ruler bent" if self.kind == "isometry" else "the inputs moved"
        ended = " no longer" if self.status == "ended" else ""
        return f"DRIFT    {self.detected_at}  {what}{ended}\n    {self.sentence}"
