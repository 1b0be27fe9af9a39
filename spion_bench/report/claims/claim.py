"""Claims: ``results/claims.toml``, written before anything was measured."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from spion_bench.report.published import published_folder

RuleName = Literal[
    "training_speed", "quality", "memory", "growth", "layers_differ", "filter_and_fill"
]


class Claim(BaseModel):
    """One claim, what it means here and how it is judged.

    Attributes:
        id: Names it in reports and on the command line.
        title: The claim in plain words.
        quote: The source's own words; ``""`` if there are none.
        source: Who claims it.
        device: Where it was claimed; ``""`` if the device does not matter.
        rule: Name of the verdict rule.
        reach: The number that it names ("up to"), None if it names none.
        means: What is measured for it here.
        needs: The cells without which it cannot be judged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    title: str
    quote: str
    source: str
    device: Literal["cuda", ""]
    rule: RuleName
    reach: float | None = None
    means: str
    needs: str


class _Claims(BaseModel):
    claims: list[Claim] = []


def claims_file() -> Path:
    """Return the claims that come with the suite."""
    return published_folder().parent / "claims.toml"


def read_claims(path: Path | None = None) -> list[Claim]:
    """Return all claims, in the order of the file.

    Args:
        path: The TOML file; None: the one that comes with the suite.

    Raises:
        ValueError: If the file is not a list of such claims, or an id stands there twice.
    """
    source = path or claims_file()
    try:
        raw = tomllib.loads(source.read_text(encoding="utf-8"))
        claims = _Claims.model_validate(raw).claims
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, no claims, nested too deep
        raise ValueError(f"{source}: {error}") from error
    ids = [claim.id for claim in claims]
    doubled = sorted({name for name in ids if ids.count(name) > 1})
    if doubled or not ids:
        found = f"twice: {doubled}" if doubled else "no claim"
        raise ValueError(f"{source}: expected [[claims]] with an id each, found {found}")
    return claims
