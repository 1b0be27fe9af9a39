"""Tensors whose parts lie far apart, on a GPU."""

from tests.emulation.test_far_apart import *  # noqa: F403
