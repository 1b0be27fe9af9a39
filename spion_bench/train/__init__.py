"""Training in three phases: dense, pattern generation, sparse."""

from spion_bench.train.checkpoint import CheckpointError
from spion_bench.train.loop import train, train_prefix
from spion_bench.train.phases import NonFiniteLossError
from spion_bench.train.progress import ProgressEvent
from spion_bench.train.result import CurvePoint, TrainResult
from spion_bench.train.schedule import RECIPES, Recipe
from spion_bench.train.settings import TrainJob, TrainSettings
from spion_bench.train.state import LayerStages, TrainState
from spion_bench.train.usage import PeakMeter, PhaseUsage

__all__ = [
    "RECIPES",
    "CheckpointError",
    "CurvePoint",
    "LayerStages",
    "NonFiniteLossError",
    "PeakMeter",
    "PhaseUsage",
    "ProgressEvent",
    "Recipe",
    "TrainJob",
    "TrainResult",
    "TrainSettings",
    "TrainState",
    "train",
    "train_prefix",
]
