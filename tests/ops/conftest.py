"""Memory that an operator does not write shows."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _nan_in_uninitialised_memory():
    torch.use_deterministic_algorithms(True)  # torch.empty, of C++ too, returns NaN
    yield
    torch.use_deterministic_algorithms(False)
