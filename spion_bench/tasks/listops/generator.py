"""Distinct ListOps expressions, drawn with a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import blake2b

from spion_bench.tasks.listops.expressions import Example, draw_expression
from spion_bench.tasks.listops.options import ListOpsOptions
from spion_bench.tasks.task import SourceSpec

GENERATOR_VERSION = "1"
"""Raised whenever the same options and seed give other expressions."""

_MAX_FRUITLESS_DRAWS = 200_000


def generate(options: ListOpsOptions) -> Iterator[Example]:
    """Yield distinct expressions without end, drawn with ``options.seed``.

    The Long Range Arena gathers them in a set and splits the set; drawing in order from the same
    distribution is the same without depending on a set's order.

    Raises:
        ValueError: If hardly any expression, or hardly any new one, fits the window.
    """
    low, end = options.window
    if low + 1 >= end:
        raise ValueError(
            f"task listops: options min_length, max_length: no number of tokens is more than {low} "
            f"and less than {end}"
        )
    draw = random.Random(options.seed).random
    seen: set[bytes] = set()
    fruitless = 0
    while fruitless < _MAX_FRUITLESS_DRAWS:
        fruitless += 1
        drawn = draw_expression(
            draw, max_depth=options.max_depth, max_arguments=options.max_args, max_length=end
        )
        if drawn is None or len(drawn[0]) <= low:
            continue
        digest = blake2b(drawn[0], digest_size=16).digest()  # a tenth of the expression's memory
        if digest not in seen:
            seen.add(digest)
            fruitless = 0
            yield drawn
    raise ValueError(
        f"task listops: options min_length, max_length: {_MAX_FRUITLESS_DRAWS} draws gave no new "
        f"expression of more than {low} and fewer than {end} tokens after {len(seen)}; widen the "
        "window, raise max_depth or max_args, or ask for fewer examples"
    )


SOURCE = SourceSpec.always("generated", "drawn with a seed", stand_in=False)
