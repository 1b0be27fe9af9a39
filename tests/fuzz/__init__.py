"""Random and damaged inputs at every door; no tests, a program: ``python -m tests.fuzz``."""
