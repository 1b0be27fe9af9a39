"""The Transformer classifier that every attention method is plugged into."""
