"""Checks of the numbers that methods are made with."""


def check_at_least(least: int, **values: int) -> None:
    """Raise ValueError, naming it, for the first of ``values`` that is below ``least``."""
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
