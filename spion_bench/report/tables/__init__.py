"""Tables of a report: pure functions from a record set to tables."""
