"""The kernel page: cases, sweeps, goals and limits of the operators."""
