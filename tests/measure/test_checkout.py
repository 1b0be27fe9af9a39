import os
import subprocess

import pytest

from spion_bench.measure.checkout import Checkout, read_checkout


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


@pytest.fixture
def package(tmp_path):
    """The package of a checkout, committed."""
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(package.parent, "init", "-q")
    git(package.parent, "add", "package/__init__.py")
    git(package.parent, "commit", "-q", "-m", "first")
    return package


def test_a_clean_checkout_is_its_commit(package):
    found = read_checkout(package)
    assert len(found.sha) == 40
    assert found == Checkout(found.sha, dirty=False)


def test_a_changed_file_makes_a_checkout_dirty(package):
    (package / "__init__.py").write_text("x = 1\n")
    assert read_checkout(package).dirty is True


def test_an_untracked_source_makes_a_checkout_dirty_and_is_named(package):
    (package.parent / "notes.txt").write_text("no source")
    (package.parent / ".gitignore").write_text("*.log\n")
    (package / "x.log").write_text("ignored")
    git(package.parent, "add", ".gitignore")
    git(package.parent, "commit", "-q", "-m", "second")
    assert read_checkout(package).dirty is False
    (package / "n\u00e4w one.py").write_text("")
    (package.parent / "csrc").mkdir()
    (package.parent / "csrc" / "new.cpp").write_text("")
    found = read_checkout(package)
    assert found.dirty is True
    assert found.untracked == ("csrc/new.cpp", "package/n\u00e4w one.py")


def test_an_installed_package_in_another_checkout_has_no_commit(package):
    installed = package.parent / "site-packages"
    installed.mkdir()
    (installed / "__init__.py").write_text("")
    assert read_checkout(installed) == Checkout()


def test_outside_of_a_checkout_there_is_nothing_to_say(tmp_path):
    assert read_checkout(tmp_path) == Checkout()


def test_without_git_a_checkout_says_why_it_has_no_commit(package, monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = read_checkout(package)
    assert (found.sha, found.dirty) == (None, None)
    assert found.problem.startswith("git: ")
    assert read_checkout(package.parents[1]).problem is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_a_checkout_of_another_account_says_why_it_has_no_commit(package):
    for path in (package.parent, package.parent / ".git", package):
        os.chown(path, 12345, 12345)
    found = read_checkout(package)
    assert (found.sha, found.dirty) == (None, None)
    assert "dubious ownership" in found.problem


def test_a_hooks_variables_do_not_lead_to_its_repository(package, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    expected = read_checkout(package)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert read_checkout(package) == expected
