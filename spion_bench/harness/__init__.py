"""From a profile to records: plan, one child process per cell, gate, measure, store."""
