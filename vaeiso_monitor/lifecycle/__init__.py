"""How a model comes to serve: the slot it serves from, and the first training."""

from vaeiso_monitor.lifecycle.cold_start import (
    ColdStart,
    ColdStartConfig,
    Intake,
    Reporter,
    concatenate,
    first_of,
)
from vaeiso_monitor.lifecycle.slot import Slot

__all__ = ["ColdStart", "ColdStartConfig", "Intake", "Reporter", "Slot", "concatenate", "first_of"]
