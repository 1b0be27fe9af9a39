"""The kernel pass: operators alone, on the cases of suite.cases."""
