"""Accuracy against step and against time: how long a method takes to get there."""
