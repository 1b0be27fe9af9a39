"""Data sets: what they consist of, downloading, checking and unpacking them; no torch."""
