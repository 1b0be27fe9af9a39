"""Training in three phases: dense, pattern generation, sparse."""

from spion_bench.train.checkpoint import CheckpointError
from spion_bench.train.loop import train, train_prefix
from spion_bench.train.phases import NonFiniteLossError
from spion_bench.train.progress import ProgressEvent
from spion_bench.train.result import TrainResult
from spion_bench.train.schedule import RECIPES
from spion_bench.train.settings import TrainJob
from spion_bench.train.state import TrainState

__all__ = [
    "RECIPES",
    "CheckpointError",
    "NonFiniteLossError",
    "ProgressEvent",
    "TrainJob",
    "TrainResult",
    "TrainState",
    "train",
    "train_prefix",
]
