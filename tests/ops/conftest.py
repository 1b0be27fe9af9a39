"""Results must not depend on what memory held before: here it holds NaN."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _nan_in_uninitialised_memory():
    torch.use_deterministic_algorithms(True)  # torch.empty then returns NaN, in C++ too
    yield
    torch.use_deterministic_algorithms(False)
