"""The profiles, one file each; what a user asks of one, and what is wrong with one."""
