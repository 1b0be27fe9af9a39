"""``python -m spion_bench`` is the command ``spion-bench``."""

from spion_bench.cli import main

if __name__ == "__main__":
    main(prog_name="spion-bench")
