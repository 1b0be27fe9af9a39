"""The names that settings may have, each declared once for the whole package."""

from typing import Literal

# What pruned scores are: absent, or zeros as in the published code.
Pruned = Literal["minus_inf", "zero_logit"]
# How block_attention is computed: by one operator, or by SDDMM, softmax and SpMM.
Implementation = Literal["fused", "pipeline"]
# Of SPION's patterns: whether the map is filtered, and whether a fill or the largest blocks decide.
Variant = Literal["CF", "C", "F"]
# Which flood fill: the published walk, or a region that grows from the diagonal.
Selection = Literal["walk", "connected"]
# Whether all layers leave the dense phase together.
TransitionMode = Literal["joint", "per_layer"]
# Which behaviours of the published training code a run keeps.
RecipeName = Literal["published", "corrected"]
# Where as many blocks as a learned pattern has are kept: where it has them, or elsewhere.
Blocks = Literal["own", "window", "random", "top_mass"]
# In what a model multiplies, see train.precision.
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
