"""What was claimed for SPION, and what the records of a report say about it."""
