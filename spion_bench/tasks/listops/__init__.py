"""The ListOps task: compute the value of a nested list operation from its tokens.

The Long Range Arena published 96000 + 2000 + 2000 expressions drawn without a seed. They are read
where they are present; otherwise new ones are drawn, with a seed. Two tokenisations exist:
``brackets`` (the arena's since March 2021) and ``legacy`` (before, and in the data that the SPION
code names). ``legacy`` loses every closing bracket, so the value no longer follows from the tokens.
"""

from spion_bench.tasks.listops import generator, release
from spion_bench.tasks.listops.expressions import TOKENS
from spion_bench.tasks.listops.loader import load
from spion_bench.tasks.listops.options import ListOpsOptions
from spion_bench.tasks.shortcuts import MAJORITY, by_first_token, counts, first_token, regression
from spion_bench.tasks.task import TaskSpec

_COUNTS = counts(len(TOKENS) + 1)

_SHORTCUTS = (
    MAJORITY,
    first_token("root", "the outermost operator alone"),
    regression("bag", "logistic regression on how often each token occurs", _COUNTS),
    by_first_token("root_bag", "the same, one for each outermost operator", _COUNTS),
)

SPEC = TaskSpec("listops", ListOpsOptions, load, (release.SOURCE, generator.SOURCE), _SHORTCUTS)
