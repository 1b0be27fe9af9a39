"""What a data set is: its files, with addresses, published sizes and checksums, and its licence.

Paths are relative to the data folder, with ``/``. A mirror is a copy of a data folder that is
served over HTTP: with a base URL, a file's address is the base URL and the file's path. Which data
sets there are is declared by the tasks that read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spion_bench.records.names import UsageError, check_name

NO_LICENCE = "no licence stated with the files; read the page before you pass them on"


@dataclass(frozen=True)
class DataFile:
    """One file to download.

    Attributes:
        path: Where it lies in the data folder.
        url: Its public address.
        size: Bytes, where published or widely reported; None where not.
        checksum: ``"md5:..."`` or ``"sha256:..."`` where published; None: the first download is
            recorded, and later ones are compared with it (trust on first use).
    """

    path: str
    url: str
    size: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Unpacking:
    """How an archive is unpacked.

    Attributes:
        parts: Name of a part to its folder, the same in the archive and in the data folder.
        max_bytes: The archive's whole content may not be larger.
        max_files: Nor may it hold more files.
    """

    parts: Mapping[str, str]
    max_bytes: int
    max_files: int


@dataclass(frozen=True)
class DataSet:
    """A data set: its files, and what a user should know before downloading them.

    Attributes:
        name: Its name on the command line.
        files: What is downloaded.
        page: Where its authors describe it.
        licence: What is known about its licence.
        note: What else to know; may be empty.
        size_note: About how much is downloaded, where ``files`` do not say.
        unpacking: How its only file is unpacked; None if the tasks read the files as they are.
    """

    name: str
    files: tuple[DataFile, ...]
    page: str
    licence: str
    note: str = ""
    size_note: str = ""
    unpacking: Unpacking | None = None


def choose_parts(data_set: DataSet, names: tuple[str, ...]) -> dict[str, str]:
    """Return the chosen parts of an archive, name to folder; no names: all of them.

    Raises:
        UsageError: If the data set has no such part, or no parts at all.
    """
    known = data_set.unpacking.parts if data_set.unpacking else {}
    if names and not known:
        raise UsageError(
            f"data set {data_set.name} has no part {names[0]!r}: it is not unpacked; leave out "
            "--part"
        )
    for name in names:
        check_name(f"{data_set.name} part", name, known)
    return {name: known[name] for name in names or known}
