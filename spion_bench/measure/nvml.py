"""What NVML says about one NVIDIA GPU, reading by reading; no torch.

Each reading is one query and one try: what a driver, a container or a GPU refuses costs that
reading alone, and the reason is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# Bits of nvmlDeviceGetCurrentClocksEventReasons (NVML's header nvml.h). Those that slow a GPU down;
# left out are the clocks that the user set and the display's clocks.
IDLE_BIT = 0x01
THROTTLE_REASONS = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}
MISSING = "nvidia-ml-py is not installed; pip install 'spion_bench[gpu]'"
FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of Linux


class NvmlError(RuntimeError):
    """NVML or its GPU is not there; the message says why."""


class NvmlGpu:
    """One GPU, or one MIG instance of it; use it in a ``with`` statement.

    Attributes:
        is_mig: Whether only a part of the GPU may be ours. Clocks, power, temperature and energy
            are then those of the whole board.
        problems: Why a reading was refused, by its name. A refused one is not tried again.

    Args:
        uuid: The device's number as torch has it, without prefix; None: the first GPU.

    Raises:
        NvmlError: If there is no binding, library, driver or such a GPU.
    """

    def __init__(self, uuid: str | None = None) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise NvmlError(MISSING) from error
        self._nvml: Any = pynvml
        self.problems: dict[str, str] = {}
        if self._ask("init", lambda nvml: nvml.nvmlInit() or True) is None:
            raise NvmlError(self.problems["init"])
        self._handle = self._find(uuid)
        if self._handle is None:
            self.close()
            raise NvmlError(self.problems["device"])
        self._board, self.is_mig = self._find_board()
        self.problems.clear()

    def __enter__(self) -> NvmlGpu:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let NVML go; if it fails to, what was read stays."""
        self._ask("shutdown", lambda nvml: nvml.nvmlShutdown())

    def name(self) -> str | None:
        """Return the product's name, as the driver has it."""
        return self._text("name", lambda nvml: nvml.nvmlDeviceGetName(self._board))

    def driver(self) -> str | None:
        """Return the driver's version."""
        return self._text("driver", lambda nvml: nvml.nvmlSystemGetDriverVersion())

    def sm_clock_mhz(self) -> int | None:
        """Return the clock of the SMs."""
        return self._number(
            "sm_clock_mhz", lambda n: n.nvmlDeviceGetClockInfo(self._board, n.NVML_CLOCK_SM)
        )

    def memory_clock_mhz(self) -> int | None:
        """Return the clock of the memory."""
        return self._number(
            "memory_clock_mhz", lambda n: n.nvmlDeviceGetClockInfo(self._board, n.NVML_CLOCK_MEM)
        )

    def temperature_c(self) -> int | None:
        """Return the temperature of the GPU in degrees Celsius."""
        return self._number(
            "temperature_c",
            lambda n: n.nvmlDeviceGetTemperature(self._board, n.NVML_TEMPERATURE_GPU),
        )

    def power_mw(self) -> int | None:
        """Return the power of the board; most GPUs report the mean of the last second."""
        return self._number("power_w", lambda nvml: nvml.nvmlDeviceGetPowerUsage(self._board))

    def utilisation_percent(self) -> int | None:
        """Return the share of NVML's last period in which a kernel ran; it has none of MIG."""
        return self._number(
            "utilisation_percent",
            lambda nvml: nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu,
        )

    def clock_bits(self) -> int | None:
        """Return the bits that say why the clocks are as they are."""
        return self._number(
            "throttle_reasons",
            lambda nvml: nvml.nvmlDeviceGetCurrentClocksEventReasons(self._board),
        )

    def energy_mj(self) -> int | None:
        """Return the energy that the board has used since its driver was loaded."""
        return self._number("energy", lambda n: n.nvmlDeviceGetTotalEnergyConsumption(self._board))

    def process_bytes(self) -> dict[int, int | None] | None:
        """Return what each process uses of this GPU's or instance's memory, by its number.

        A process whose memory NVML does not know has None.
        """
        found: dict[int, int | None] | None = self._ask(
            "process_peak_bytes",
            lambda nvml: {
                int(each.pid): None if each.usedGpuMemory is None else int(each.usedGpuMemory)
                for each in nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
            },
        )
        return found

    def _find(self, uuid: str | None) -> Any:
        """Return the device's handle; torch gives a GPU's number, or that of a MIG instance."""
        if uuid is None:
            return self._ask("device", lambda nvml: nvml.nvmlDeviceGetHandleByIndex(0))
        for kind in ("MIG", "GPU"):
            name = f"{kind}-{uuid}"
            handle = self._ask(kind, lambda nvml, n=name: nvml.nvmlDeviceGetHandleByUUID(n))  # type: ignore[misc]
            if handle is not None:
                return handle
        self.problems["device"] = f"{self.problems['GPU']} (GPU-{uuid})"
        return None

    def _find_board(self) -> tuple[Any, bool]:
        """Return the handle of the whole GPU, and whether only a part of it may be ours."""
        ask, handle = self._ask, self._handle
        if ask("is_mig", lambda nvml: nvml.nvmlDeviceIsMigDeviceHandle(handle)):
            board = ask(
                "board", lambda nvml: nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
            )
            return (handle if board is None else board), True
        mode = ask("mig_mode", lambda nvml: nvml.nvmlDeviceGetMigMode(handle)[0])
        return handle, bool(mode)

    def _text(self, what: str, query: Callable[[Any], Any]) -> str | None:
        found = self._ask(what, query)
        return None if found is None else str(found)

    def _number(self, what: str, query: Callable[[Any], Any]) -> int | None:
        found = self._ask(what, lambda nvml: int(query(nvml)))
        return None if found is None else int(found)

    def _ask(self, what: str, query: Callable[[Any], Any]) -> Any:
        """Return what a query answers, text as text; None if it is refused now or was before.

        The reason is then in ``problems``.
        """
        if what in self.problems:
            return None
        try:
            found = query(self._nvml)
        # NVMLError, or what a binding raises that does not fit its library: AttributeError,
        # OSError, a mismatch with a class of its own, text that cannot be decoded.
        except Exception as error:
            self.problems[what] = f"NVML: {error}"
            return None
        return found.decode(errors="replace") if isinstance(found, bytes) else found


def throttle_reasons(bits: int) -> list[str]:
    """Return what slows a GPU down, from the bits of ``clock_bits``."""
    return [name for bit, name in THROTTLE_REASONS.items() if bits & bit]


def pid_problem(namespace: Path = Path("/proc/self/ns/pid")) -> str | None:
    """Return why NVML, which numbers processes as the host does, cannot know ours; else None."""
    try:
        is_first = namespace.stat().st_ino == FIRST_PID_NAMESPACE
    except OSError:
        return None
    if is_first:
        return None
    return (
        "processes have other numbers in this container than NVML knows them by; start it in the "
        "host's PID namespace (`--pid=host`)"
    )
