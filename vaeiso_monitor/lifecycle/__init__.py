"""How a model comes to serve: the slot it serves from, and the first training."""

from vaeiso_monitor.lifecycle.child_trainer import ChildTrainer
from vaeiso_monitor.lifecycle.cold_start import (
    ColdStart,
    ColdStartConfig,
    Intake,
    Reporter,
    concatenate,
    first_of,
)
from vaeiso_monitor.lifecycle.config import LifecycleConfig, ReloadConfig, owned
from vaeiso_monitor.lifecycle.drift_config import (
    DriftConfig,
    InputDriftConfig,
    IsometryDriftConfig,
)
from vaeiso_monitor.lifecycle.drift_history import DriftHistory
from vaeiso_monitor.lifecycle.drift_report import InputDriftReport, IsometryDriftReport
from vaeiso_monitor.lifecycle.evidence import gathered
from vaeiso_monitor.lifecycle.feedback import Feedback, Judged, checked
from vaeiso_monitor.lifecycle.gate import Evidence, Gate, GateConfig
from vaeiso_monitor.lifecycle.gate_verdict import Check, GateVerdict
from vaeiso_monitor.lifecycle.history import AlertHistory
from vaeiso_monitor.lifecycle.history_config import HistoryConfig
from vaeiso_monitor.lifecycle.history_reader import HistoryReader
from vaeiso_monitor.lifecycle.history_rows import AlertedRows, Page, Precision, StoredAlert, Verdict
from vaeiso_monitor.lifecycle.input_drift import InputDrift
from vaeiso_monitor.lifecycle.isometry_drift import IsometryDrift
from vaeiso_monitor.lifecycle.keeper import Keeper
from vaeiso_monitor.lifecycle.ledger import Ledger
from vaeiso_monitor.lifecycle.lifecycle import Lifecycle
from vaeiso_monitor.lifecycle.parts import Parts
from vaeiso_monitor.lifecycle.regime import RegimeConfig, RegimeEvent, RegimeWatch
from vaeiso_monitor.lifecycle.retraining import Outcome, Retraining, Terms
from vaeiso_monitor.lifecycle.rows import taken
from vaeiso_monitor.lifecycle.schedule import RetrainConfig, Timer, back_off, next_training
from vaeiso_monitor.lifecycle.slot import Slot
from vaeiso_monitor.lifecycle.spool import REQUESTS, Request, Spool
from vaeiso_monitor.lifecycle.swap import Swap
from vaeiso_monitor.lifecycle.trainer import (
    Effort,
    LocalTrainer,
    Trainer,
    TrainerConfig,
    TrainingFailed,
    TrainingSet,
)
from vaeiso_monitor.lifecycle.watches import Watches
from vaeiso_monitor.lifecycle.window import Window
from vaeiso_monitor.lifecycle.window_config import WindowConfig
from vaeiso_monitor.lifecycle.window_snapshot import WindowSnapshot

__all__ = [
    "REQUESTS",
    "AlertHistory",
    "AlertedRows",
    "Check",
    "ChildTrainer",
    "ColdStart",
    "ColdStartConfig",
    "DriftConfig",
    "DriftHistory",
    "Effort",
    "Evidence",
    "Feedback",
    "Gate",
    "GateConfig",
    "GateVerdict",
    "HistoryConfig",
    "HistoryReader",
    "InputDrift",
    "InputDriftConfig",
    "InputDriftReport",
    "Intake",
    "IsometryDrift",
    "IsometryDriftConfig",
    "IsometryDriftReport",
    "Judged",
    "Keeper",
    "Ledger",
    "Lifecycle",
    "LifecycleConfig",
    "LocalTrainer",
    "Outcome",
    "Page",
    "Parts",
    "Precision",
    "RegimeConfig",
    "RegimeEvent",
    "RegimeWatch",
    "ReloadConfig",
    "Reporter",
    "Request",
    "RetrainConfig",
    "Retraining",
    "Slot",
    "Spool",
    "StoredAlert",
    "Swap",
    "Terms",
    "Timer",
    "Trainer",
    "TrainerConfig",
    "TrainingFailed",
    "TrainingSet",
    "Verdict",
    "Watches",
    "Window",
    "WindowConfig",
    "WindowSnapshot",
    "back_off",
    "checked",
    "concatenate",
    "first_of",
    "gathered",
    "next_training",
    "owned",
    "taken",
]
