"""The gate: only what is correct is timed."""
