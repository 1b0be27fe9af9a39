"""Literal types that several parts share, each declared once."""

from typing import Literal

Pruned = Literal["minus_inf", "zero_logit"]
Implementation = Literal["fused", "pipeline"]
Variant = Literal["CF", "C", "F"]
Selection = Literal["walk", "connected"]
TransitionMode = Literal["joint", "per_layer"]
RecipeName = Literal["published", "corrected"]
