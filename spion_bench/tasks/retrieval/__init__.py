"""The retrieval task: are two documents, each read byte by byte, related?

The published data is pairs of papers of the ACL Anthology Network (AAN), of which one cites the
other or not (Long Range Arena). Where it is missing, pairs of pieces of source files, from the same
file or not, stand in for it, and are labelled as a stand-in. Both documents run through the same
encoder; how the head combines them is the configuration's decision (``pair_features``).
"""

from spion_bench.tasks.retrieval import aan
from spion_bench.tasks.retrieval.loader import RetrievalOptions, load
from spion_bench.tasks.shared import corpus
from spion_bench.tasks.task import TaskSpec

SPEC = TaskSpec(
    name="retrieval", options=RetrievalOptions, read=load, sources=(aan.SOURCE, corpus.SOURCE)
)
