"""What a worker does: one module per pass; the only part that measures."""
