"""The image task: classify a grey picture that is read as a sequence of pixels.

The published data is CIFAR-10 in grey, 32x32 pixels row by row: 1024 tokens, one of 256 grey
values each, ten classes (Long Range Arena). Where CIFAR-10 is missing, Fashion-MNIST or the digits
that scikit-learn bundles stand in for it, and are labelled as stand-ins.

Black is id 0, the id that other tasks pad with. Whether that excludes black pixels from attention
or pooling is the configuration's decision (``mask_attention``, ``mask_pooling``), not the data's.
"""

from spion_bench.tasks.image import cifar10, digits, fashion_mnist
from spion_bench.tasks.image.loader import ImageOptions, load
from spion_bench.tasks.shortcuts import MAJORITY, regression, values
from spion_bench.tasks.task import TaskSpec

SPEC = TaskSpec(
    "image",
    ImageOptions,
    load,
    sources=(cifar10.SOURCE, fashion_mnist.SOURCE, digits.SOURCE),
    shortcuts=(MAJORITY, regression("pixels", "logistic regression on the pixels", values)),
)
