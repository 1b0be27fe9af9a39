"""Turns a plan into records: the runner, and the workers that it starts."""
