"""The asv benchmark suite: a few kernel series followed over commits."""
