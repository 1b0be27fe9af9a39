"""Whose folder the built libraries are loaded from, and what is removed from it."""

import os
import pwd
from pathlib import Path

import pytest

from spion_bench.native import cache
from spion_bench.native.cache import cache_root, check_private, clean
from spion_bench.native.error import BuildError
from spion_bench.records.files import locked

BUILD = "spion_bench-0123456789abcdef"


def test_the_folder_is_named_or_in_the_home(monkeypatch):
    monkeypatch.setenv("SPION_BENCH_CACHE", "/somewhere/else")
    assert cache_root() == Path("/somewhere/else")
    monkeypatch.delenv("SPION_BENCH_CACHE")
    monkeypatch.setenv("HOME", "/home/reader")
    assert cache_root() == Path("/home/reader/.cache/spion_bench")


def test_an_account_without_a_home_reads_what_to_set(monkeypatch):
    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("SPION_BENCH_CACHE", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(BuildError, match=r"has no home folder .* set SPION_BENCH_CACHE"):
        cache_root()


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    file = folder / "spion_bench.so"
    file.write_bytes(b"code")
    file.chmod(0o755)
    return file


def test_a_private_folder_is_used(library):
    check_private(library)


@pytest.mark.parametrize("place", [".", ".."])
@pytest.mark.parametrize(
    ("mode", "problem"), [(0o777, "everybody can write there"), (0o775, "group 54321 can write")]
)
def test_what_others_can_write_to_is_refused(library, place, mode, problem):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another group")
    folder = Path(os.path.normpath(library.parent / place))
    os.chown(folder, -1, 54321)
    folder.chmod(mode)
    with pytest.raises(BuildError, match=f"^{folder}: {problem}"):
        check_private(library)
    folder.chmod(0o700)


def test_another_owner_is_refused_and_a_link_does_not_hide_him(library, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(library.parent)
    check_private(link / library.name)
    real = Path.stat

    def stat(path, **options):
        found = real(path, **options)
        if path == library.parent:
            return os.stat_result([*found[:4], 54321, *found[5:]])
        return found

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(BuildError, match="belongs to user 54321"):
        check_private(link / library.name)


def test_others_may_add_to_a_sticky_folder_on_the_way(library):
    library.parent.parent.chmod(0o1777)
    check_private(library)
    library.parent.parent.chmod(0o700)


def test_a_library_that_others_can_write_to_is_refused(library):
    library.chmod(0o666)
    with pytest.raises(BuildError, match=r"spion_bench\.so: everybody can write there"):
        check_private(library)


def test_cleaning_removes_what_was_built_and_nothing_else(tmp_path):
    for name in (f"{BUILD}/build-1", "spion_bench_cuda-0123456789abcdef", "spion_bench-mine"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / BUILD / "build-1/spion_bench.so").write_bytes(b"code")
    for name in (f"{BUILD}.lock", f"{BUILD}.log", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    removed = {path.name for path, size in clean(tmp_path) if size >= 0}
    assert removed == {BUILD, f"{BUILD}.log", "spion_bench_cuda-0123456789abcdef"}
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "spion_bench-mine"}
    assert list(clean(tmp_path / "nowhere")) == []


def test_what_is_being_built_stays(tmp_path):
    (tmp_path / BUILD).mkdir()
    with locked(tmp_path / f"{BUILD}.lock", cache._refuse):
        assert list(clean(tmp_path)) == []
    assert (tmp_path / BUILD).is_dir()
