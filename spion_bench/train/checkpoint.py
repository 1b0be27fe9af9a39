"""Checkpoints: a JSON manifest and one safetensors file, replaced atomically, no pickle.

A checkpoint is a *tree* of dicts, lists, numbers, strings and tensors. The tensors go into
``<digest>.safetensors``, everything else into ``manifest.json``, which names that file and states
the checksums of both. The manifest is replaced last, so a killed run always leaves the previous or
the new checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from spion_bench.records.files import replace_file
from spion_bench.records.quote import shorten

FORMAT_VERSION = 3
MANIFEST = "manifest.json"

_TENSOR = "$tensor"  # in a stored tree, the key of a reference to a tensor

Tree = dict[str, Any]


class CheckpointError(RuntimeError):
    """A checkpoint could not be read, written, or belongs to another run."""


class CheckpointStore:
    """The one checkpoint of a run, in a folder of its own.

    Args:
        directory: The folder; made when the first checkpoint is written.
        identity: What the run is; a checkpoint of another identity is refused.
        every_s: Seconds between two periodic checkpoints, see ``is_due``.
    """

    def __init__(self, directory: Path, identity: Tree, every_s: float) -> None:
        self.directory = directory
        self._identity: Tree = json.loads(json.dumps(identity))
        self._every_s = every_s
        self._last_save = time.monotonic()

    def is_due(self) -> bool:
        """Return whether ``every_s`` seconds have passed since the last one (or the start)."""
        return time.monotonic() - self._last_save >= self._every_s

    def save(self, tree: Tree) -> None:
        """Replace the checkpoint by ``tree``.

        Raises:
            CheckpointError: If it could not be written; the previous one is then kept.
        """
        tensors: dict[str, Tensor] = {}
        plain = _split(tree, "", tensors)
        data = safetensors.torch.save(tensors)
        digest = hashlib.sha256(data).hexdigest()
        manifest = {
            "format_version": FORMAT_VERSION,
            "identity": self._identity,
            "tensors": {"file": f"{digest[:16]}.safetensors", "sha256": digest},
            "tree": plain,
        }
        manifest["sha256"] = _digest(manifest)
        tensor_file = self.directory / manifest["tensors"]["file"]
        _replace(tensor_file, data)
        _replace(self.directory / MANIFEST, json.dumps(manifest).encode())
        for stale in self.directory.glob("*.safetensors"):
            if stale != tensor_file:
                stale.unlink()
        self._last_save = time.monotonic()

    def load(self) -> Tree | None:
        """Return the stored tree, its tensors on the CPU; None if there is no checkpoint.

        Raises:
            CheckpointError: If it is damaged or of another run, naming the file and the remedy.
        """
        path = self.directory / MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
            version, digest = manifest["format_version"], manifest.pop("sha256", None)
            is_whole = _digest(manifest) == digest
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"{type(error).__name__} {shorten(str(error))}"
            raise _damaged(path, f"not a checkpoint manifest: {reason}") from error
        if version != FORMAT_VERSION:
            raise _damaged(path, f"format_version is {version}, expected {FORMAT_VERSION}")
        if not is_whole:
            raise _damaged(path, "its sha256 is not the one that it states")
        identity, stored = manifest["identity"], manifest["tensors"]
        differing = sorted(
            key
            for key in identity.keys() | self._identity.keys()
            if identity.get(key) != self._identity.get(key)
        )
        if differing:
            raise _damaged(path, f"belongs to another run (different: {', '.join(differing)})")
        tensors = _read_tensors(self.directory / stored["file"], stored["sha256"])
        joined: Tree = _join(manifest["tree"], tensors)
        return joined

    def clear(self) -> None:
        """Forget the checkpoint, damaged or not."""
        (self.directory / MANIFEST).unlink(missing_ok=True)
        for file in self.directory.glob("*.safetensors"):
            file.unlink()


def _digest(manifest: Tree) -> str:
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of a tree into ``tensors``; return the tree with their names instead."""
    if isinstance(value, Tensor):
        # A copy each: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {_TENSOR: name}
    if isinstance(value, dict):
        return {key: _split(item, f"{name}/{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_split(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
    return value


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _join(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    return value


def _read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _damaged(path, "its sha256 is not the one in the manifest")
        return dict(safetensors.torch.load(data))
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error


def _replace(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as error:
        raise CheckpointError(
            f"{path}: could not store the checkpoint ({error.strerror}); free some space and run "
            "the same command again, the previous checkpoint is kept"
        ) from error


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: cannot resume from this checkpoint: {reason}; delete it or run with --fresh"
    )
