"""Records of schema 1, read as records of schema 2: the one converter.

Schema 1 kept what a cell was asked and what was observed in one untyped bag, wrote NaN and infinity
as null, and knew methods by name only. What it did not keep stays unknown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from spion_bench.records.cell import Family, KernelShape, Role
from spion_bench.records.schema import Record

_SHAPE = {"batch": "B", "heads": "H", "length": "L", "head_dim": "D", "block_size": "block_size"}
_LABEL = re.compile(r"([a-z]+)(\d+)")
_READ = {
    *_SHAPE.values(),
    *("label", "busy_s", "code", "omp_wait_policy", "batch_size", "measured_in_turns_with"),
    *("rounds", "gate_length", "isolation", "memory_method", "sweeps", "tasks", "products"),
    *("tested_phase", "tested_step", "timer", "l2", "l2_bytes", "flush_bytes", "host_bound"),
    *("sm_clock_mhz_before", "sm_clock_mhz_after", "sm_clock_mhz_lowest", "operator"),
    *("memory_clock_mhz_after", "throttle_reasons", "clocks_not_read", "sdpa_backend", "window"),
}
_BANDS = ("sweep_band_", "band_")

# Name -> family and role; the base of a name is what stands before "@".
_METHODS: dict[str, tuple[Family, Role]] = {
    "dense_sdpa": ("dense", "reference"),
    "dense_eager": ("dense", "reference"),
    "xformers_fmha": ("dense", "reference"),
    "spion_c": ("spion", "subject"),
    "spion_f": ("spion", "subject"),
    "spion_cf": ("spion", "subject"),
    "flex": ("spion", "isolates"),
    "reformer": ("hashing", "rival"),
    "reformer_hf": ("hashing", "rival"),
    "spion+window_block": ("sparse", "isolates"),
    "spion+longformer_block": ("sparse", "isolates"),
    "spion+bigbird_block": ("sparse", "isolates"),
    "spion+strided": ("sparse", "isolates"),
    "spion+fixed": ("sparse", "isolates"),
    "block_attention": ("spion", "subject"),
    "block_attention_float32": ("spion", "subject"),
    "pipeline": ("spion", "subject"),
    "csr_pipeline": ("spion", "isolates"),
    "flex_forward": ("spion", "isolates"),
    "dense_sdpa_forward": ("dense", "reference"),
    "dense_xformers": ("dense", "reference"),
    "generate_pattern": ("operator", "subject"),
    "pattern_from_qk": ("operator", "subject"),
    "flood_fill": ("operator", "subject"),
    "python_walk": ("operator", "reference"),
    "sgemm": ("limit", "limit"),
    "memory_copy": ("limit", "limit"),
}
_OTHER: tuple[Family, Role] = ("sparse", "rival")  # all others, a user's own method too
_VARIANTS = {"spion_c": "C", "spion_f": "F", "spion_cf": "CF"}  # a failed cell did not say


class Schema1Reader:
    """Reads the lines of one file.

    A cell that failed early knows neither its task nor its shape; it takes them from a cell of the
    same file with the same label.

    Args:
        lines: All lines of the file, whatever they hold.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._shapes: dict[str, KernelShape] = {}
        self._cases: dict[str, dict[str, Any]] = {}
        for line in lines:
            # A damaged line is named when it is read; it says nothing about the others.
            with suppress(ValueError, RecursionError, KeyError, TypeError, AttributeError):
                self._learn(_schema1(line))

    def _learn(self, document: dict[str, Any] | None) -> None:
        """Remember the shape and the case of a kernel cell that states them."""
        if document is None or not set(_SHAPE.values()) <= document["settings"].keys():
            return
        settings = document["settings"]
        shape = {name: settings[key] for name, key in _SHAPE.items()}
        kept = self._shapes.get(settings["label"])
        n_blocks = _kept_blocks(document) or (kept.n_blocks if kept else None)
        self._shapes[settings["label"]] = KernelShape(**shape, n_blocks=n_blocks)
        self._cases[settings["label"]] = settings

    def read(self, line: bytes) -> Record | None:
        """Return the record of a line of schema 1, or None for a line of another schema.

        Raises:
            ValueError: If the line says that it is of schema 1 and is not.
        """
        document = _schema1(line)
        if document is None:
            return None
        try:
            return Record.model_validate(self._convert(document))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"schema 1: {error!r}") from error

    def _convert(self, old: dict[str, Any]) -> dict[str, Any]:
        return {
            "cell": self._cell(old),
            "measurement": _measurement(old),
            "environment": _environment(old),
            "started_at": old["started_at"],
            "ended_at": old["ended_at"],
        }

    def _cell(self, old: dict[str, Any]) -> dict[str, Any]:
        settings = old["settings"]
        label = str(settings.get("label") or old["cell_key"])
        cell = {
            "key": old["cell_key"],
            "pass_name": old["pass_name"],
            "profile": old["profile"],
            "label": label,
            "method": _method(old),
            "seed": old["seed"],
            "device": old["device"],
            "dtype": old["dtype"],
            "threads": old["environment"]["threads"],
            "timeout_s": 0.0,
            "code": str(settings.get("code", "")),
        }
        if old["pass_name"] == "kernel":
            return {**cell, **self._case(label)}
        task, place = old["task"], _LABEL.fullmatch(label)
        if task is None and place is None:
            raise ValueError(f"schema 1: cell {old['cell_key']} does not say its task")
        name, length = (task["name"], task["length"]) if task else place.groups()  # type: ignore[union-attr]
        return {
            **cell,
            "kind": "task",
            "task": name,
            "length": int(length),
            "batch_size": settings.get("batch_size"),
        }

    def _case(self, label: str) -> dict[str, Any]:
        if label not in self._shapes:
            raise ValueError(f"schema 1: no cell of the file states the shape of case {label}")
        shape, settings = self._shapes[label], self._cases[label]
        band = "band" if label.startswith(_BANDS) else "band+stripes"
        sweeps = str(settings.get("sweeps", "")).split()
        return {
            "kind": "kernel",
            "case": label,
            "shape": shape,
            "pattern": None if shape.n_blocks is None else band,
            "measures": "memory" if "memory" in sweeps else "time",
            "sweeps": sweeps,
            "tasks": str(settings["tasks"]).split(", ") if "tasks" in settings else [],
            "precision": str(settings.get("products", "")),
        }


def _schema1(line: bytes) -> dict[str, Any] | None:
    if b'"schema_version": 1' not in line and b'"schema_version":1' not in line:
        return None
    document = json.loads(line)
    is_first = isinstance(document, dict) and document.get("schema_version") == 1
    return document if is_first else None


def _kept_blocks(old: dict[str, Any]) -> int | None:
    """Return the kept blocks of a case's pattern, from a subject that is not dense."""
    pattern = old["pattern"]
    if pattern is None or old["method"]["name"].startswith("dense"):
        return None
    return int(pattern["nnzb"][0])


def _method(old: dict[str, Any]) -> dict[str, Any]:
    name = str(old["method"]["name"])
    family, role = _METHODS.get(name, _OTHER)
    # A kernel case's token window stood among the settings, as the neighbours on either side.
    settings = old["settings"]
    window = {"window": 2 * settings["window"]} if "window" in settings else {}
    parameters = {**window, **old["method"]["parameters"]}
    return {
        "name": name,
        "family": family,
        "role": role,
        "base": name.partition("@")[0],
        "variant": parameters.get("variant") or _VARIANTS.get(name),
        "arguments": parameters,
    }


def _measurement(old: dict[str, Any]) -> dict[str, Any]:
    settings = old["settings"]
    chosen = {name: settings[name] for name in ("sdpa_backend", "operator") if settings.get(name)}
    tested = {"phase": settings.get("tested_phase"), "step": settings.get("tested_step")}
    return {
        **{name: old[name] for name in ("status", "reason", "task", "pattern", "transition")},
        **{name: old[name] for name in ("deviations", "artifacts")},
        "is_final": old["status"] != "unsupported",  # why it was unsupported is not known
        "attention": _attention(old, chosen),
        "metrics": {name: _metric(metric) for name, metric in old["metrics"].items()},
        "gate": _gate(old["gate_errors"]),
        "gate_length": settings.get("gate_length"),
        "tested": tested if tested["phase"] else None,
        "turn": _turn(settings),
        "gpu": _gpu(settings),
        "cuda_timing": _cuda_timing(settings),
        "memory_method": settings.get("memory_method"),
        "isolation": settings.get("isolation", "own"),
        "busy_s": settings.get("busy_s", 0.0),
        "extra": {name: value for name, value in settings.items() if name not in _READ},
    }


def _attention(old: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any] | None:
    """Return how an attention describes itself; a cell that failed early had not built it."""
    method = old["method"]
    is_built = method["parameters"] or method["caveats"] or not method["exact"]
    if old["status"] != "ok" and not is_built:
        return None
    return {"exact": method["exact"], "caveats": method["caveats"], "chosen": chosen}


def _number(value: float | None) -> float:
    """Return a stored number; null was NaN or an infinity, and which of them is not known."""
    return math.nan if value is None else value


def _metric(metric: dict[str, Any]) -> dict[str, Any]:
    samples = [_number(sample) for sample in metric.get("samples", [])]
    return {**metric, "value": _number(metric["value"]), "samples": samples}


def _gate(errors: dict[str, float | None]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "error": _number(error),
            "budget": _number(errors[f"{name}_budget"]) if f"{name}_budget" in errors else None,
        }
        for name, error in errors.items()
        if not name.endswith("_budget")
    ]


def _turn(settings: dict[str, Any]) -> dict[str, Any] | None:
    if "measured_in_turns_with" not in settings:
        return None
    methods = str(settings["measured_in_turns_with"]).split(", ")
    return {"methods": methods, "rounds": settings["rounds"]}


def _gpu(settings: dict[str, Any]) -> dict[str, Any] | None:
    if "clocks_not_read" in settings:
        return {"problem": settings["clocks_not_read"]}
    if "sm_clock_mhz_before" not in settings:
        return None
    after = settings["sm_clock_mhz_after"]
    memory = settings["memory_clock_mhz_after"]
    return {
        "sm_clock_mhz": {
            "lowest": settings["sm_clock_mhz_lowest"],
            "median": None,
            "highest": max(settings["sm_clock_mhz_before"], after),
        },
        "memory_clock_mhz": {"lowest": memory, "median": None, "highest": memory},
        "throttle_reasons": str(settings["throttle_reasons"]).split(),
    }


def _cuda_timing(settings: dict[str, Any]) -> dict[str, Any] | None:
    if "l2_bytes" not in settings:
        return None
    return {
        "l2": str(settings["l2"]).split(", "),
        "l2_bytes": settings["l2_bytes"],
        "flush_bytes": settings["flush_bytes"],
        "host_bound": str(settings["host_bound"]).split(),
    }


def _environment(old: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in old["environment"].items() if name != _THROTTLE}
    return {**kept, "omp_wait_policy": old["settings"].get("omp_wait_policy")}


_THROTTLE = "gpu_throttle_reasons"  # of the cell, not of the machine: in the GPU's readings now
