"""Timing, memory, environment and statistics; knows nothing of tasks or models."""
