"""Puts the CPU kernels, compiled, into the wheel where ``SPION_BENCH_PREBUILT=1``.

Everything else about the package is in pyproject.toml; without the variable nothing changes, and
the wheel compiles its kernels on first use. See CONTRIBUTING.md, "Wheels".
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.errors import OptionError

ROOT = Path(__file__).resolve().parent
VARIABLE = "SPION_BENCH_PREBUILT"
# What compiling the kernels takes of the package's dependencies.
NEEDED_TO_COMPILE = ["torch>=2.10", "numpy", "ninja", "filelock", "psutil", "pydantic"]


class PlatformDistribution(Distribution):
    """Has machine code, so its wheel is of one platform and has a build folder of its own."""

    def has_ext_modules(self) -> bool:
        """Say so without an extension module: the kernels are a library, loaded by torch."""
        return True


class BuildWithLibrary(build_py):
    """Copies the package, then compiles its kernels into the copy."""

    def run(self) -> None:
        """Do so; an editable install is refused, it would write into the checkout."""
        if self.editable_mode:
            raise OptionError(f"{VARIABLE}: expected the build of a wheel, got an editable install")
        super().run()
        from spion_bench.native.prebuilt import PLACE, build_into

        build_into(Path(self.build_lib) / "spion_bench" / "native" / PLACE, ROOT / "csrc")


class PlatformWheel(bdist_wheel):
    """A wheel for every Python of one platform: the kernels do not use Python's interface."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag, for instance ``py3-none-linux_x86_64``."""
        return ("py3", "none", super().get_tag()[2])


def prebuilt() -> dict[str, Any]:
    """Return what a wheel with compiled kernels adds to ``setup``."""
    sys.path.insert(0, str(ROOT))
    options = {}
    # Not yet there where a build tool asks what it has to install.
    if importlib.util.find_spec("torch") is not None:
        import torch

        major, minor = torch.__version__.split(".")[:2]
        options = {"egg_info": {"tag_build": f"+torch{major}.{minor}"}}
    return {
        "distclass": PlatformDistribution,
        "cmdclass": {"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel},
        "setup_requires": NEEDED_TO_COMPILE,
        "options": options,
    }


setup(**(prebuilt() if os.environ.get(VARIABLE) == "1" else {}))
