"""The model: numbers in, numbers out; torch and numpy only."""

from vaeiso_monitor.model.devices import resolve_device
from vaeiso_monitor.model.fit import Fit, Fold, fit
from vaeiso_monitor.model.isometry import Isometry, isometry
from vaeiso_monitor.model.pending import Pending
from vaeiso_monitor.model.race import TrainingStopped
from vaeiso_monitor.model.report import FitReport, MemberReport, Progress
from vaeiso_monitor.model.scoring import Parts, Scorer, ScoringConfig
from vaeiso_monitor.model.shape import ModelConfig
from vaeiso_monitor.model.training import TrainingConfig
from vaeiso_monitor.model.vae import VAE

__all__ = [
    "VAE",
    "Fit",
    "FitReport",
    "Fold",
    "Isometry",
    "MemberReport",
    "ModelConfig",
    "Parts",
    "Pending",
    "Progress",
    "Scorer",
    "ScoringConfig",
    "TrainingConfig",
    "TrainingStopped",
    "fit",
    "isometry",
    "resolve_device",
]
