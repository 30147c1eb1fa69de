"""vaeiso_monitor: streaming anomaly detection by the likelihood of an isometric beta-VAE."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaeiso_monitor.detector import Detector

__version__ = "0.1.0"
__all__ = ["Detector", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the library face on first use: the model alone needs only torch and numpy."""
    if name == "Detector":
        from vaeiso_monitor.detector import Detector  # noqa: PLC0415 - lazy on purpose

        return Detector
    msg = f"module 'vaeiso_monitor' has no attribute {name!r}"
    raise AttributeError(msg)
