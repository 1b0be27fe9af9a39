"""What is followed over commits: the benchmarks of asv, which ``spion-bench compare`` times too.

Both run today's benchmarks against old packages. So these modules use the public names of
``spion_bench`` and ``spion_bench.ops`` only, and the classifier of ``model.classifier``; and they
import one another relatively, not from the installed package. The case data lies here, and the
rest of the suite reads it.
"""
