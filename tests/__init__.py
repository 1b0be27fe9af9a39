"""The tests mirror the package; ``tests/native`` also holds programs that are no tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""
