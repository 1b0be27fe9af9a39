"""Numbers as a reader reads them: SI units, three significant digits, intervals that match."""

from __future__ import annotations

import math

NARROW_SPACE = "\u202f"
MINUS = "\u2212"
SIGNIFICANT_DIGITS = 3

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PREFIXES = (
    *((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")),
    *((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")),
)
# Stored unit -> (factor to the SI base unit, base unit).
_BASE_UNITS = {
    "s": (1.0, "s"),
    "ms": (1e-3, "s"),
    "bytes": (1.0, "B"),
    "FLOP": (1.0, "FLOP"),
    "gflops": (1e9, "FLOP/s"),
    "GFLOP/s": (1e9, "FLOP/s"),
    "J": (1.0, "J"),
}


def format_quantity(
    value: float, unit: str, low: float | None = None, high: float | None = None
) -> tuple[str, str]:
    """Format a number and its interval in one unit and to the same number of decimals.

    Args:
        value: The number, in ``unit``.
        unit: As stored in a record: ``s ms bytes FLOP gflops J``, ``ratio`` (shown in percent),
            ``points`` (percentage points, signed), ``times`` (a speed-up), ``count``, or any other
            word, which is shown as it is.
        low: Lower end of the 95 % interval.
        high: Upper end.

    Returns:
        The number with its unit, and the interval ("" if there is none). NaN and infinity are
        numbers too, shown without a unit.
    """
    if not math.isfinite(value):
        return _not_finite(value), ""
    if unit == "count":
        return f"{round(value):,}".replace(",", NARROW_SPACE), ""
    factor, suffix, decimals = _scale(value, unit)
    text = _fixed(value * factor, decimals, signed=unit == "points") + suffix
    if low is None or high is None or not math.isfinite(low + high):
        return text, ""
    ends = [
        _fixed(end * factor, _end_decimals(end, value, factor, decimals), signed=unit == "points")
        for end in (low, high)
    ]
    return text, "[{},\u00a0{}]".format(*ends)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "infinite" if value > 0 else f"{MINUS}infinite"


def _scale(value: float, unit: str) -> tuple[float, str, int]:
    """Return the factor to the shown unit, the suffix, and the number of decimals."""
    if unit == "ratio":
        return 100.0, f"{NARROW_SPACE}%", 1
    if unit == "points":
        return 100.0, f"{NARROW_SPACE}points", 1
    if unit == "times":
        return 1.0, "\u00d7", _decimals(value)
    if unit not in _BASE_UNITS:
        return 1.0, f"{NARROW_SPACE}{unit}", _decimals(value)
    to_base, base = _BASE_UNITS[unit]
    magnitude = abs(value) * to_base
    prefixes = [item for item in _PREFIXES if item[0] >= 1.0] if base != "s" else _PREFIXES[5:]
    size, prefix = next((p for p in prefixes if magnitude >= p[0] * 0.9995), prefixes[-1])
    if magnitude == 0:
        size, prefix = 1.0, ""
    factor = to_base / size
    return factor, f"{NARROW_SPACE}{prefix}{base}", _decimals(value * factor)


def format_percent(share: float) -> str:
    """Format a share (0 to 1) as percent with one decimal."""
    return format_quantity(share, "ratio")[0]


def format_error(value: float) -> str:
    """Format a numerical error as a power of ten with two significant digits."""
    if not math.isfinite(value):
        return _not_finite(value)
    if value == 0:
        return "0 (exact)"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}\u00d710{str(int(exponent)).translate(_SUPERSCRIPT)}"


def plural(count: int, noun: str) -> str:
    """Return ``"1 cell"`` or ``"3 cells"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}".replace(",", NARROW_SPACE)


def join_words(words: list[str]) -> str:
    """Return ``"a"``, ``"a and b"`` or ``"a, b and c"``."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _end_decimals(end: float, value: float, factor: float, decimals: int) -> int:
    """Return the decimals of an interval's end: the number's, fewer if it is far larger."""
    return min(decimals, _decimals(end * factor)) if abs(end) > 10 * abs(value) else decimals


def _decimals(value: float) -> int:
    if value == 0:
        return 0
    return max(0, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value) * 1.0005)))


def _fixed(value: float, decimals: int, *, signed: bool) -> str:
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)
