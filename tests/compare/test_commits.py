import subprocess

import pytest

from spion_bench.compare.commits import find_repository, resolve, worktrees
from spion_bench.records.names import UsageError


def git(folder, *arguments):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A repository whose two commits say 1 and 2."""
    root = tmp_path_factory.mktemp("checkout")
    git(root, "init", "--quiet")
    (root / "spion_bench").mkdir()
    for number in (1, 2):
        (root / "spion_bench" / "__init__.py").write_text(f"{number}")
        git(root, "add", ".")
        git(root, "commit", "--quiet", "-m", str(number))
    return root


def test_commits_are_unpacked_side_by_side_and_removed(checkout):
    root = find_repository(checkout / "spion_bench")
    commits = resolve(root, "HEAD~1"), resolve(root, "HEAD")
    with worktrees(root, commits) as paths:
        said = [(path / "spion_bench" / "__init__.py").read_text() for path in paths]
        assert said == ["1", "2"]
    assert not any(path.exists() for path in paths)
    listed = subprocess.run(
        ["git", "-C", str(root), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_a_shallow_or_detached_checkout_will_do(checkout, tmp_path):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{checkout}", str(clone))
    git(clone, "checkout", "--quiet", "--detach")
    with worktrees(clone, (resolve(clone, "HEAD"),) * 2) as paths:
        assert len(paths) == 2
    with pytest.raises(UsageError, match="git fetch --unshallow"):
        resolve(clone, "HEAD~1")


def test_a_hooks_variables_do_not_lead_to_its_repository(checkout, tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert find_repository(checkout / "spion_bench") == checkout
    assert resolve(checkout, "HEAD")


def test_without_git_commits_cannot_be_compared(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"No such file .* comparing commits needs git"):
        find_repository(checkout)


def test_what_is_no_checkout_of_spion_bench_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a git repository"):
        find_repository(tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(UsageError, match="expected a checkout of spion_bench"):
        find_repository(tmp_path)
