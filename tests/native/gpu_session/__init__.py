"""Everything that a machine with a GPU is asked, in one resumable command; see docs/gpu.md."""
