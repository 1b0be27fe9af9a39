"""The sections of the main page, in order; each begins with what it shows."""
