"""Getting a data set: download what is missing, check it, record it, unpack it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spion_bench.datasets.data_set import DataFile, DataSet
from spion_bench.datasets.download import (
    DEFAULT_PATIENCE,
    DownloadError,
    Patience,
    check_disk,
    download,
)
from spion_bench.datasets.ledger import (
    LEDGER_FILE,
    PartEntry,
    digests,
    new_entry,
    read_ledger,
    record_file,
    record_part,
)
from spion_bench.datasets.partial import discard, notes_of
from spion_bench.datasets.unpack import unpack
from spion_bench.records.files import locked

_LOCK_FILE = ".fetch.lock"
_UNPACKED_RATIO = 3  # the Long Range Arena's release: 8.2 GB become 18.6 GB


class Observer(Protocol):
    """Receives what happens while data sets are fetched."""

    def say(self, text: str) -> None:
        """Report that something was done, or had been done already."""

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Report how many bytes of ``what`` are done, and of how many where that is known."""


class ChecksumError(ValueError):
    """A downloaded file is not the published one, or not the one downloaded before."""


@dataclass(frozen=True)
class Fetcher:
    """Brings data sets into a folder; files already present are left as they are.

    Attributes:
        data_dir: The folder; it is created.
        observer: Receives what happens.
        base_url: URL of a mirror, a copy of a data folder; None: the published addresses.
        patience: How long to keep trying.
    """

    data_dir: Path
    observer: Observer
    base_url: str | None = None
    patience: Patience = DEFAULT_PATIENCE

    def fetch(self, data_set: DataSet, parts: Mapping[str, str]) -> None:
        """Fetch a data set, and unpack those ``parts`` of it (see ``choose_parts``).

        Raises:
            DownloadError: If a file cannot be downloaded; it says where to put it by hand.
            ChecksumError: If a file is not the published one.
            UnsafeArchiveError: If the archive is damaged or hostile.
            OSError: If another fetch is writing to the folder, or the disk is too small.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with locked(self.data_dir / _LOCK_FILE, self._refuse_to_wait):
            for leftover in self.data_dir.glob(f"{LEDGER_FILE}.*.tmp"):  # of a killed fetch
                leftover.unlink()
            missing = {n: f for n, f in parts.items() if not (self.data_dir / f).exists()}
            if parts and not missing:
                self.observer.say(f"{data_set.name}: already unpacked: {', '.join(parts)}")
                return
            for file in data_set.files:
                self._fetch_file(file)
            if data_set.unpacking:
                self._unpack(data_set, missing)

    def _refuse_to_wait(self, holder: str) -> None:
        raise OSError(
            f"{self.data_dir}: another fetch is writing here; wait until it ends, or choose "
            f"another --data-dir ({holder})"
        )

    def _fetch_file(self, file: DataFile) -> None:
        target = self.data_dir / file.path
        if target.exists():
            self.observer.say(f"{file.path}: already present; `spion-bench data verify` checks it")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".part")
        url = f"{self.base_url.rstrip('/')}/{file.path}" if self.base_url else file.url
        if not self._arrives_whole(file, url, partial, target):
            self.observer.say(
                f"{file.path}: its pieces do not fit together; downloading it again from the start"
            )
            self._arrives_whole(file, url, partial, target)

    def _arrives_whole(self, file: DataFile, url: str, partial: Path, target: Path) -> bool:
        """Download, check and name a file; False if it is wrong and was made of several pieces.

        Raises:
            ChecksumError: If it is wrong and came in one piece.
        """
        try:
            in_pieces = download(
                url,
                partial,
                size=file.size,
                patience=self.patience,
                on_progress=lambda done, total: self.observer.progress(file.path, done, total),
            )
        except DownloadError as error:
            raise DownloadError(f"{error}\n{by_hand(file, self.data_dir)}") from error
        sha256, found = digests(partial, file.checksum)
        before = read_ledger(self.data_dir).files.get(file.path)
        expected = file.checksum or (before and f"sha256:{before.sha256}")
        actual = found or f"sha256:{sha256}"
        if expected is not None and actual != expected:
            discard(partial)
            if in_pieces:
                return False
            basis = "published" if file.checksum else "downloaded here before"
            raise ChecksumError(
                f"{url}: expected {expected} ({basis}), got {actual}; nothing was kept\n"
                f"{by_hand(file, self.data_dir)}"
            )
        os.replace(partial, target)
        notes_of(partial).unlink(missing_ok=True)
        entry = new_entry(target, sha256, "published" if file.checksum else "first use", url)
        record_file(self.data_dir, file, entry)
        self.observer.say(f"{file.path}: downloaded, {entry.size} bytes, {entry.evidence}")
        return True

    def _unpack(self, data_set: DataSet, parts: Mapping[str, str]) -> None:
        plan = data_set.unpacking
        assert plan is not None, "only archives have parts"
        archive = data_set.files[0]
        path = self.data_dir / archive.path
        known = read_ledger(self.data_dir).files.get(archive.path)
        sha256 = known.sha256 if known else digests(path, None)[0]
        check_disk(self.data_dir, _UNPACKED_RATIO * path.stat().st_size)
        written = unpack(
            path,
            self.data_dir,
            tuple(parts.values()),
            max_bytes=plan.max_bytes,
            max_files=plan.max_files,
            on_progress=lambda done, total: self.observer.progress("unpacking", done, total),
        )
        for name, folder in parts.items():
            found = written[folder]
            entry = PartEntry(n_files=found.n_files, n_bytes=found.n_bytes, archive_sha256=sha256)
            record_part(self.data_dir, folder, entry)
            self.observer.say(f"{folder}: unpacked {name}, {found.n_files} files")
        self.observer.say(f"{archive.path} is no longer needed; you may delete it")


def by_hand(file: DataFile, data_dir: Path) -> str:
    """Return how to get a file if this machine has no network."""
    folder = (data_dir / file.path).parent
    return (
        f"Without a network here: download {file.url} elsewhere, put {file.name} into {folder}, "
        "and run `spion-bench data verify`; or name a mirror with --base-url"
    )
