"""A stand-in for NVIDIA's libnvidia-ml.so.1, in C, in front of the real binding."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pynvml
import pytest

SOURCE = Path(__file__).with_name("stub_nvml.c")
ERRORS = {
    "not supported": 3,
    "no permission": 4,
    "not loaded": 9,
    "gpu lost": 15,
}
UUID = "ab-cd"


def build(folder, *options):
    """Return the compiled library."""
    library = folder / "libnvidia-ml.so.1"
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "the tests need a C compiler, as the package does"
    command = [compiler, "-shared", "-fPIC", "-o", library, SOURCE, *options]
    subprocess.run(command, check=True, capture_output=True)
    return library


@pytest.fixture(scope="session")
def stub_libraries(tmp_path_factory):
    """Return the libraries of a present and of an old driver."""
    return {
        name: build(tmp_path_factory.mktemp(name), *options)
        for name, options in (("present", ()), ("old", ("-DOLD_DRIVER",)))
    }


class Stub:
    """What the library answers."""

    def __init__(self, script):
        self._script = script
        self._answers = {}
        self.answer(
            nvmlDeviceGetName="Some GPU",
            nvmlSystemGetDriverVersion="600.1",
            sm_clock=1410,
            memory_clock=1593,
            nvmlDeviceGetTemperature=61,
            nvmlDeviceGetPowerUsage=301500,
            nvmlDeviceGetUtilizationRates=98,
            nvmlDeviceGetTotalEnergyConsumption=5000,
            nvmlDeviceGetHandleByIndex_v2=7,
            **{f"GPU-{UUID}": 7},
        )

    def answer(self, **values):
        """Let functions succeed with values."""
        self._answers |= {name: (0, value) for name, value in values.items()}
        self._write()

    def refuse(self, name, error):
        """Let a function fail."""
        self._answers[name] = (ERRORS[error], 0)
        self._write()

    def _write(self):
        lines = [f"{name} {code} {value}\n" for name, (code, value) in self._answers.items()]
        part = self._script.with_suffix(".part")
        part.write_text("".join(lines))
        part.replace(self._script)  # a sampler may be reading


def use(monkeypatch, library):
    """Let the binding of this process, and of those that it starts, load a library."""
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library.parent))


@pytest.fixture
def stub(tmp_path, monkeypatch, stub_libraries):
    monkeypatch.setenv("STUB_NVML", str(tmp_path / "script"))
    use(monkeypatch, stub_libraries["present"])
    return Stub(tmp_path / "script")


@pytest.fixture
def old_stub(stub, monkeypatch, stub_libraries):
    """The same without the functions that old drivers lack."""
    use(monkeypatch, stub_libraries["old"])
    return stub
