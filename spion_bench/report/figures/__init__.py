"""Figures of a report: pure functions from a record set to figures."""
