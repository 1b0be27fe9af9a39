"""How the turns of a plan are run: one by one, or side by side on one machine."""
