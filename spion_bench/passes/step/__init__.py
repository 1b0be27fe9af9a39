"""One whole training step of the suite's classifier, which several passes measure."""
