"""Comparison of two commits, or of two folders of records: what got slower, what got faster."""
