"""What the CUDA kernels are built with; stand-ins speak for torch and nvcc, nothing is built."""

import pytest
import torch

from spion_bench.native import cuda as cuda_kernels
from spion_bench.native import library
from spion_bench.native.build import BuildError

# Answers as nvcc does, if it is called by its own path as a link is not.
NVCC = """\
#!/bin/sh
here=$(dirname "$0")
case "$1" in
--version) echo "nvcc: NVIDIA (R) Cuda compiler driver"
           echo "Cuda compilation tools, release {release}, V{release}.88" ;;
--dryrun)  echo "#$ _HERE_=$here" >&2
           test -f "$here/nvcc.profile" && echo "#$ TOP=$here/.." >&2 ;;
esac
"""


@pytest.fixture
def toolkit(monkeypatch, tmp_path):
    """A CUDA 13.0 build of torch, an nvcc of the same version, and no GPU; returns its folder."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(cuda_kernels.cpp_extension, "CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
    write_nvcc(tmp_path, "13.0")
    return tmp_path


def write_nvcc(folder, release):
    write_program(folder / "bin" / "nvcc", NVCC.format(release=release))
    (folder / "bin" / "nvcc.profile").touch()


def write_program(path, text):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def see(monkeypatch, *capabilities):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: capabilities[i])


def code_flags():
    return [flag for flag in cuda_kernels.cuda_recipe().cuda_flags if "gencode" in flag]


def test_everything_that_changes_the_library_is_in_the_recipe(toolkit):
    recipe = cuda_kernels.cuda_recipe()
    assert "release 13.0" in recipe.cuda_version
    assert "-gencode=arch=compute_90,code=sm_90" in recipe.flags
    assert recipe.toolkit == str(toolkit)
    assert str(toolkit) in recipe.hint
    sources = library.source_dir() / "cuda"
    compiled = {file for pattern in recipe.compiled for file in sources.glob(pattern)}
    included = {file.resolve() for pattern in recipe.included for file in sources.glob(pattern)}
    assert {file.suffix for file in compiled} == {".cpp", ".cu"}
    assert library.source_dir() / "checks.h" in included
    everything = {file for file in sources.rglob("*") if file.is_file()}
    assert {file.name for file in everything - compiled - included} == {"resources.toml"}


def test_the_visible_gpus_come_before_the_list(toolkit, monkeypatch):
    see(monkeypatch, (9, 0), (8, 6), (9, 0), (7, 5))
    assert code_flags() == [
        "-gencode=arch=compute_86,code=sm_86",
        "-gencode=arch=compute_90,code=sm_90",
    ]


@pytest.mark.parametrize("listed", ["8.0;10.0+PTX", "8.0 10.0+PTX"])
def test_without_gpus_the_list_counts(listed, toolkit, monkeypatch):
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", listed)
    assert code_flags() == [
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_100,code=sm_100",
        "-gencode=arch=compute_100,code=compute_100",
    ]


@pytest.mark.parametrize(("listed", "word"), [("Hopper", "Hopper"), ("9.0 7.5", "7.5")])
def test_what_cannot_be_compiled_for_is_refused(listed, word, toolkit, monkeypatch):
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", listed)
    with pytest.raises(BuildError, match=f"from 8.0 on, .*, got '{word}'"):
        cuda_kernels.cuda_recipe()


def test_nothing_to_compile_for(toolkit, monkeypatch):
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST")
    with pytest.raises(BuildError, match=r'sees no GPU.*TORCH_CUDA_ARCH_LIST="9\.0"'):
        cuda_kernels.cuda_recipe()


def test_gpus_that_are_too_old(toolkit, monkeypatch):
    see(monkeypatch, (7, 0))
    with pytest.raises(BuildError, match=r"capability 8\.0 or newer, got 7\.0"):
        cuda_kernels.cuda_recipe()


def test_a_torch_without_cuda(toolkit, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(BuildError, match="is built without CUDA; install a CUDA build of torch"):
        cuda_kernels.cuda_recipe()


@pytest.mark.parametrize("home", [None, "/no/toolkit"])
def test_no_nvcc(home, toolkit, monkeypatch):
    monkeypatch.setattr(cuda_kernels.cpp_extension, "CUDA_HOME", home)
    with pytest.raises(
        BuildError, match=r"nvcc was not found.* the CUDA toolkit 13\.0 and set CUDA_HOME"
    ):
        cuda_kernels.cuda_recipe()


def test_an_nvcc_of_another_version(toolkit):
    write_nvcc(toolkit, "12.8")
    with pytest.raises(BuildError, match=r"is from CUDA 12\.8, but torch .* for CUDA 13\.0"):
        cuda_kernels.cuda_recipe()


@pytest.mark.parametrize("answer", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho 13\n"])
def test_an_nvcc_that_fails(answer, toolkit):
    write_program(toolkit / "bin" / "nvcc", answer)
    with pytest.raises(BuildError, match=r"nvcc --version` (failed|names no release)"):
        cuda_kernels.cuda_recipe()


@pytest.mark.parametrize("is_link", [True, False])
def test_the_toolkit_of_an_nvcc_that_is_a_link_or_a_script(is_link, toolkit, monkeypatch):
    path = toolkit / "elsewhere" / "bin" / "nvcc"
    if is_link:
        path.parent.mkdir(parents=True)
        path.symlink_to(toolkit / "bin" / "nvcc")
    else:
        write_program(path, f'#!/bin/sh\nexec {toolkit}/bin/nvcc "$@"\n')
    monkeypatch.setattr(cuda_kernels.cpp_extension, "CUDA_HOME", str(path.parents[1]))
    assert cuda_kernels.cuda_recipe().toolkit == str(toolkit)


def test_a_toolkit_without_its_folder(toolkit):
    (toolkit / "bin" / "nvcc.profile").unlink()
    write_program(toolkit / "bin" / "nvcc", NVCC.format(release="13.0") + "true\n")
    with pytest.raises(BuildError, match=r"nvcc --dryrun: expected a line '#\$ TOP="):
        cuda_kernels.cuda_recipe()
