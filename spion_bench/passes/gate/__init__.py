"""The gate before the clock: is what is about to be timed correct?"""
