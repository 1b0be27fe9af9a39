"""Packs what a page shows only when asked: compressed, and unpacked by the page's own script.

A page carries up to a limit in itself, so it stays one file; more goes into a script beside it,
which a browser also loads from a disk. Without scripts a reader has the CSV and SVG files.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Final

MOST_IN_PAGE: Final = 700_000
"""Bytes of packed parts that a page carries in itself."""

WORTH_PACKING: Final = 6_000
"""A folded part of fewer bytes stays as it is."""


class Packer:
    """Collects the packed parts of one page.

    Attributes:
        stem: Names the script beside the page.
        parts: The packed parts, in order.
    """

    def __init__(self, stem: str) -> None:
        self.stem = stem
        self.parts: list[str] = []

    def pack(self, text: str) -> int:
        """Keep ``text`` packed and return its place."""
        # Without the time, so the same records give the same bytes.
        packed = gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0)
        self.parts.append(base64.b64encode(packed).decode("ascii"))
        return len(self.parts) - 1

    @property
    def is_beside(self) -> bool:
        """Whether the parts are too much for the page."""
        return sum(map(len, self.parts)) > MOST_IN_PAGE

    @property
    def file(self) -> str:
        """Path of the script beside the page, relative to the report."""
        return f"data/{self.stem}.js"

    def script(self) -> str:
        """Return the script that gives the page its packed parts."""
        return f"const packedParts = {json.dumps(self.parts)};"
