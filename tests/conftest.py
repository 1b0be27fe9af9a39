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

THREADS = 2


def pytest_make_parametrize_id(config, val, argname):
    """Name dtypes in ids: a failure, and ``-k``, say float16 instead of dtype0."""
    return str(val).removeprefix("torch.") if isinstance(val, torch.dtype) else None


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
    torch.set_num_threads(THREADS)
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


# How a user lets torch use TF32 in matrix products, by its older settings and by its newer ones.
ALLOW_TF32 = {
    "matmul_precision": lambda: torch.set_float32_matmul_precision("high"),
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "fp32_precision": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "fp32_precision_of_all": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
}


@pytest.fixture
def tf32_setting():
    """Restore torch's default, no TF32 in matrix products."""
    yield
    torch.set_float32_matmul_precision("highest")
    for place in (torch.backends, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):
        place.fp32_precision = "none"


@pytest.fixture(params=ALLOW_TF32)
def allow_tf32(request, tf32_setting):
    """Return each of the ways to let torch use TF32; what they set is restored."""
    return ALLOW_TF32[request.param]
