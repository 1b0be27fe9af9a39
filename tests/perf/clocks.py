"""Clocks that make every timed call last as long as a test wants."""

from itertools import count

_single, _double = count(), count(step=2)


def one_second():
    """Advance by a second at every reading."""
    return float(next(_single))


def two_seconds():
    """Advance by two seconds at every reading."""
    return float(next(_double))
