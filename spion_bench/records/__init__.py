"""Records: what a cell measured, how it is stored, and the numbers computed from it; no torch."""

from spion_bench.records.schema import (
    FAILED_STATUSES,
    Environment,
    MethodInfo,
    Metric,
    PassName,
    PatternInfo,
    Record,
    Status,
    TaskInfo,
    TransitionInfo,
    append_record,
    latest_by_cell,
    now,
    read_records,
)

__all__ = [
    "FAILED_STATUSES",
    "Environment",
    "MethodInfo",
    "Metric",
    "PassName",
    "PatternInfo",
    "Record",
    "Status",
    "TaskInfo",
    "TransitionInfo",
    "append_record",
    "latest_by_cell",
    "now",
    "read_records",
]
