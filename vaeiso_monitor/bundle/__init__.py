"""Bundles: the artefact, the store that keeps them, and the engine that runs one."""

from vaeiso_monitor.bundle.artefact import Bundle
from vaeiso_monitor.bundle.columns import distortion_for
from vaeiso_monitor.bundle.engine import Engine, Explanation, Launched, Scored
from vaeiso_monitor.bundle.meaning import Loading, latent_meanings, meanings_state
from vaeiso_monitor.bundle.store import BundleStore, StoreConfig

__all__ = [
    "Bundle",
    "BundleStore",
    "Engine",
    "Explanation",
    "Launched",
    "Loading",
    "Scored",
    "StoreConfig",
    "distortion_for",
    "latent_meanings",
    "meanings_state",
]
