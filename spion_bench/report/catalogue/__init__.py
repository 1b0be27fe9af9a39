"""Every record of a page by itself, and how a page carries much in little space."""
