"""Pattern generation: from a given attention map, and the map itself."""

from __future__ import annotations

from spion_bench import generate_pattern
from spion_bench.ops import attention_map

from .cases import ATTENTION, PATTERN
from .inputs import attention_inputs, bright_map


class Pattern:
    """SPION-CF's pattern from a given map."""

    params = (list(PATTERN),)
    param_names = ("case",)

    def setup(self, case: str) -> None:
        """Draw the map."""
        self.shape = PATTERN[case]
        self.map = bright_map(self.shape.length)

    def time_generate_pattern(self, case: str) -> None:
        """Time filter, pooling, quantile and walk."""
        generate_pattern(
            self.map,
            variant="CF",
            block_size=self.shape.block_size,
            quantile=self.shape.quantile,
        )


class Map:
    """The attention map of a layer, averaged over batch and heads."""

    params = (["attention_4096"],)
    param_names = ("case",)

    def setup(self, case: str) -> None:
        """Draw q and k."""
        self.q, self.k = attention_inputs(ATTENTION[case])[:2]

    def time_attention_map(self, case: str) -> None:
        """Time the map."""
        attention_map(self.q, self.k)
