"""Sets of records side by side: what differs between machines, or between commits."""
