"""Records: what a cell measured, how it is stored, and the numbers computed from it; no torch."""

from spion_bench.records.cell import (
    CellBase,
    KernelCell,
    KernelShape,
    MethodInfo,
    PassName,
    TaskCell,
    TaskSettings,
)
from spion_bench.records.metric import Clocks, CudaTiming, Load, Metric, Parallelism, Turn
from spion_bench.records.schema import (
    FAILED_STATUSES,
    AttentionInfo,
    ChosenWeights,
    Environment,
    GateError,
    Measurement,
    PatternInfo,
    Record,
    Status,
    TaskInfo,
    TransitionInfo,
    now,
)
from spion_bench.records.store import append_record, latest_by_cell, read_records

__all__ = [
    "FAILED_STATUSES",
    "AttentionInfo",
    "CellBase",
    "ChosenWeights",
    "Clocks",
    "CudaTiming",
    "Environment",
    "GateError",
    "KernelCell",
    "KernelShape",
    "Load",
    "Measurement",
    "MethodInfo",
    "Metric",
    "Parallelism",
    "PassName",
    "PatternInfo",
    "Record",
    "Status",
    "TaskCell",
    "TaskInfo",
    "TaskSettings",
    "TransitionInfo",
    "Turn",
    "append_record",
    "latest_by_cell",
    "now",
    "read_records",
]
