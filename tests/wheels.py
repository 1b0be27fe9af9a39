"""Builds both wheels, and uses each where no compiler is on PATH: ``nox -s wheels``.

Everything happens in a temporary folder, in environments of their own; torch is installed twice.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
# Libraries that come with torch, in the very process: the wheel must not bring others.
OF_TORCH = ("libtorch*.so", "libc10.so", "libgomp.so.1")
USE = """
import torch
from torch import nn
from spion_bench import sparsify
from spion_bench.native import library

attention = nn.MultiheadAttention(32, 4, batch_first=True)
controller = sparsify(attention, switch=1, block_size=8, quantile=0.8)
x = torch.randn(2, 64, 32)
for _ in range(2):
    attention(x, x, x, need_weights=False)[0].square().mean().backward()
    controller.step()
assert controller.phase == "sparse" and torch.isfinite(attention.in_proj_weight.grad).all()
print(library.build_info().status, torch.ops.spion_bench.cpu_capability())
"""
_WIDE_REGISTER = re.compile(r"%[yz]mm\d|%k[0-7]")
_SYMBOL = re.compile(r"^[0-9a-f]+ <(.*)>:$")


def call(*command, **environment):
    """Run a command that has to succeed; return what it prints."""
    done = run(*command, **environment)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def run(*command, **environment):
    """Run a command outside of the checkout, whose packages it must not see."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=tempfile.gettempdir(),
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def build(folder, *options, **environment):
    """Build the checkout into a folder; return the wheel."""
    command = (sys.executable, "-m", "build", *options, "--outdir", folder, ROOT)
    call(*command, PIP_CONSTRAINT=str(CONSTRAINTS), **environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


def repaired(wheel, folder):
    """Return the wheel under the name of the Linux systems that it runs on."""
    excluded = [word for name in OF_TORCH for word in ("--exclude", name)]
    call(sys.executable, "-m", "auditwheel", "repair", *excluded, "-w", folder, wheel)
    (found,) = folder.glob("*.whl")
    return found


class Environment:
    """A fresh virtual environment with one wheel in it and kernels of its own."""

    def __init__(self, folder, wheel):
        venv.create(folder, with_pip=True)
        self.bin = folder / "bin"
        self.cache = folder / "kernels"
        call(self.bin / "pip", "install", "--quiet", "--constraint", CONSTRAINTS, wheel)
        package = "import spion_bench; print(*spion_bench.__path__)"
        self.package = Path(call(self.bin / "python", "-c", package).strip())

    def run(self, *command, compilers, **environment):
        path = f"{self.bin}:{os.environ['PATH']}" if compilers else str(self.bin)
        cache = {"SPION_BENCH_CACHE": str(self.cache), "PATH": path}
        return run(self.bin / command[0], *command[1:], **cache, **environment)

    def use(self, *, compilers, **environment):
        done = self.run("python", "-c", USE, compilers=compilers, **environment)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def check_baseline(library):
    """Every CPU may run what is not behind the choice of an instruction set."""
    symbol, wide = "", set()
    for line in call("objdump", "--disassemble", "--demangle", library).splitlines():
        if found := _SYMBOL.match(line):
            symbol = found[1]
        elif _WIDE_REGISTER.search(line):
            wide.add(symbol)
    outside = [name for name in wide if "cpu::avx2::" not in name and "cpu::avx512::" not in name]
    assert wide, "no wide registers at all: is this a disassembly?"
    assert not outside, f"wide registers outside of the chosen kernels: {outside}"


def check_pure(folder):
    wheel = build(folder / "pure")
    assert wheel.name.endswith("-py3-none-any.whl"), wheel
    environment = Environment(folder / "pure-env", wheel)
    refused = environment.use(compilers=False)
    assert "BuildError: no C++ compiler" in refused, refused
    used = environment.use(compilers=True)
    assert used.startswith("built "), used
    print(f"{wheel.name}: compiles on first use, says what is missing without a compiler")


def check_prebuilt(folder):
    wheel = build(folder / "prebuilt", "--wheel", SPION_BENCH_PREBUILT="1")
    wheel = repaired(wheel, folder / "repaired")
    assert re.search(r"\+torch\d+\.\d+-py3-none-manylinux\w+\.whl$", wheel.name), wheel
    environment = Environment(folder / "prebuilt-env", wheel)
    place = environment.package / "native" / "prebuilt"
    check_baseline(place / "spion_bench.so")
    assert not list(environment.package.parent.glob("spion_bench.libs")), "libraries of torch"
    for forced in ({}, {"SPION_BENCH_CPU_CAPABILITY": "portable"}):
        used = environment.use(compilers=False, **forced)
        assert used.startswith("prebuilt "), used
    assert used == "prebuilt portable", used
    doctor = environment.run("spion-bench", "doctor", compilers=False)
    assert doctor.returncode == 0, doctor.stdout
    check_another_torch(environment, place / "origin.json")
    print(f"{wheel.name}: runs without a compiler, refuses another torch")


def check_another_torch(environment, file):
    """A library for another torch is never loaded; one compiled on request is, from then on."""
    origin = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(origin | {"torch": "2.9.1"}), encoding="utf-8")
    for compilers in (False, True):
        refused = environment.use(compilers=compilers)
        assert "was built for torch 2.9, here is torch" in refused, refused
        assert "`spion-bench doctor --build`" in refused, refused
    built = environment.run("spion-bench", "doctor", "--build", compilers=True)
    assert "built, compiled in" in built.stdout, built.stdout + built.stderr
    used = environment.use(compilers=True)
    assert used.startswith("cached "), used


def main():
    with tempfile.TemporaryDirectory(prefix="spion-bench-wheels-") as name:
        check_prebuilt(Path(name))
        check_pure(Path(name))


if __name__ == "__main__":
    main()
