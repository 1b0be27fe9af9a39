"""Attention methods that SPION is compared with; see README.md in this folder."""
