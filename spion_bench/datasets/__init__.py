"""Data sets: where they come from, getting them, checking them, preparing them for training."""
