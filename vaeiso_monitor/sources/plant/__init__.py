"""A simulated pumping station: records, faults and their truth, for demonstrations and tests."""

from vaeiso_monitor.sources.plant.columns import PLANT_SCHEMA
from vaeiso_monitor.sources.plant.faults import FAULTS
from vaeiso_monitor.sources.plant.source import PlantConfig, PlantSource

__all__ = ["FAULTS", "PLANT_SCHEMA", "PlantConfig", "PlantSource"]
