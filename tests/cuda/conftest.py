"""What tests on a GPU get: the CUDA kernels, and a GPU where the emulated tests mean the emulator.

The tests are those of ``tests/emulation``; each file here names the one that it repeats. Without a
device all are skipped.
"""

import warnings
from pathlib import Path

import pytest
import torch

from spion_bench.native import library
from tests.cuda.gpu import Operators

# Parts of names: what asks about the emulator's own library, or for checks of values, which would
# wait for a GPU.
ABOUT_THE_EMULATOR = (
    "test_the_backend_ends_with_its_block",
    "test_schemas_are_those_of_the_cpu_kernels",
    "test_lists_that_are_none_are_refused",
    "test_lists_of_other_blocks_are_refused",
    "test_opcheck",
    "test_a_compiled_layer_computes_the_same",  # test_device.py compiles without a stand-in
    "test_nan_is_refused",
)


def pytest_collection_modifyitems(config, items):
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in here:
        item.add_marker(pytest.mark.cuda)
    unwanted = [item for item in here if any(words in item.name for words in ABOUT_THE_EMULATOR)]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


@pytest.fixture(autouse=True, scope="session")
def _cuda_kernels():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about compilers
        library.load("cuda")


@pytest.fixture(autouse=True)
def _gpu_for_the_emulator(_cuda_kernels, monkeypatch):
    monkeypatch.setattr(library.EMULATED, "load", lambda: None)
    monkeypatch.setattr(torch.ops, library.EMULATED.name, Operators(), raising=False)
