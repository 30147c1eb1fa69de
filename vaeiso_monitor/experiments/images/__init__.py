"""Images (section 5.2): norms and importances of a convolutional VAE, plain and decomposed loss."""

from vaeiso_monitor.experiments.images.pixels import ImageSet, folder_set, generated_set
from vaeiso_monitor.experiments.images.series import LOSSES, PUBLISHED, ImagesResult, run_series
from vaeiso_monitor.experiments.images.training import ImagesConfig, usual_config

__all__ = [
    "LOSSES",
    "PUBLISHED",
    "ImageSet",
    "ImagesConfig",
    "ImagesResult",
    "folder_set",
    "generated_set",
    "run_series",
    "usual_config",
]
