"""Bundles: the artefact, the store that keeps them, and the engine that runs one."""

from vaeiso_monitor.bundle.artefact import Bundle
from vaeiso_monitor.bundle.columns import distortion_for
from vaeiso_monitor.bundle.comparison import in_common_units
from vaeiso_monitor.bundle.durable import exclusively, write_whole
from vaeiso_monitor.bundle.engine import Engine, Explanation, Launched, Scored
from vaeiso_monitor.bundle.extremes import Extremes
from vaeiso_monitor.bundle.facts import beta_curve, facts_of, latents_of
from vaeiso_monitor.bundle.meaning import Loading, latent_meanings, meanings_state
from vaeiso_monitor.bundle.portrait import portrait_of
from vaeiso_monitor.bundle.reference_inputs import InputReference
from vaeiso_monitor.bundle.reference_isometry import IsometryReference
from vaeiso_monitor.bundle.sample import sample_of
from vaeiso_monitor.bundle.scorer import BundleScorer
from vaeiso_monitor.bundle.store import BundleStore, StoreConfig

__all__ = [
    "Bundle",
    "BundleScorer",
    "BundleStore",
    "Engine",
    "Explanation",
    "Extremes",
    "InputReference",
    "IsometryReference",
    "Launched",
    "Loading",
    "Scored",
    "StoreConfig",
    "beta_curve",
    "distortion_for",
    "exclusively",
    "facts_of",
    "in_common_units",
    "latent_meanings",
    "latents_of",
    "meanings_state",
    "portrait_of",
    "sample_of",
    "write_whole",
]
