"""What every test gets: a fixed seed, two threads and a hypothesis profile."""

import os
import signal

import pytest
import torch
from hypothesis import settings

from spion_bench.native import library

# CI repeats itself exactly; the nightly run draws other examples every time and says how to replay
# one that fails.
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    # A shell hands an ignored SIGINT down to what it starts in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(20240529)


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def emulated_backend():
    """Run operators by the CUDA kernels' own sources, on the emulator."""
    with library.use_backend("emulated"):
        yield


@pytest.fixture
def nan_in_uninitialised_memory():
    """Make torch.empty return NaN, in C++ too."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def tf32_setting():
    """Restore the setting of TF32 in torch."""
    before = torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32 = before
