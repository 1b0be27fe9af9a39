"""SPION in a model of one's own: converts its attention, decides the switch, makes the patterns."""
