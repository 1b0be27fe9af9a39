"""The Pathfinder task: do two marked points of a picture lie on one dashed path?

The published data is a release of the Long Range Arena: pictures of 32x32 pixels read row by row,
and of 128x128 (Path-X). Where it is missing, pictures are drawn with its parameters by a generator
written from the description of the original, and are labelled as a stand-in.

Background is black, id 0, the id that other tasks pad with: two thirds of the pixels. Whether that
excludes them from attention or pooling is the configuration's decision (``mask_attention``,
``mask_pooling``), not the data's.
"""

from spion_bench.tasks.pathfinder import release, workers
from spion_bench.tasks.pathfinder.loader import PathfinderOptions, load
from spion_bench.tasks.shortcuts import MAJORITY, regression, values
from spion_bench.tasks.task import TaskSpec

SPEC = TaskSpec(
    "pathfinder",
    PathfinderOptions,
    load,
    sources=(release.SOURCE, workers.SOURCE),
    shortcuts=(MAJORITY, regression("pixels", "logistic regression on the pixels", values)),
)
