"""The text task: the class of a document that is read byte by byte.

The published data is IMDb's film reviews, negative or positive (Long Range Arena). Its training
half is the training split. Its test half is both the dev and the test split, as IMDb has no other,
unless a part of the training half is held out. Where IMDb is missing, pieces of source code, as
written or with the letters of each word in another order, stand in for it, and are labelled as a
stand-in.
"""

from spion_bench.tasks.shared import corpus
from spion_bench.tasks.shared.byte_encoding import VOCABULARY
from spion_bench.tasks.shortcuts import MAJORITY, counts, regression
from spion_bench.tasks.task import TaskSpec
from spion_bench.tasks.text import imdb
from spion_bench.tasks.text.loader import TextOptions, load

_SHORTCUTS = (
    MAJORITY,
    regression(
        "histogram", "logistic regression on how often each byte occurs", counts(VOCABULARY)
    ),
)

SPEC = TaskSpec("text", TextOptions, load, (imdb.SOURCE, corpus.SOURCE), _SHORTCUTS)
