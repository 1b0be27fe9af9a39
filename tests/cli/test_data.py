from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spion_bench.cli import main
from spion_bench.tasks import data_sets
from tests.datasets.conftest import server
from tests.datasets.server import Server
from tests.datasets.test_fetch import LAYOUT
from tests.tasks.test_formats import write_tar

__all__ = ["server"]

DATA_SETS = data_sets()


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def test_list_shows_all_a_user_needs_to_know(tmp_path: Path) -> None:
    result = invoke("list", "--data-dir", tmp_path)
    assert result.exit_code == 0
    for data_set in DATA_SETS.values():
        assert f"{data_set.name}  not here" in result.output
        for file in data_set.files:
            assert file.url in result.output
    assert "md5:c32a1d4ab5d03f1284b67883e8d87530" in result.output
    assert "trust on first use" in result.output
    assert "licence: MIT" in result.output


def test_fetch_verify_and_list_agree(server: Server, tmp_path: Path) -> None:
    server.files["lra_release.gz"] = write_tar(tmp_path / "a.tar.gz", LAYOUT).read_bytes()
    options = ["--data-dir", tmp_path / "data"]
    fetched = invoke(
        "fetch", "lra-release", "--part", "listops", "--base-url", server.url, *options
    )
    assert fetched.exit_code == 0, fetched.output
    assert "unpacked listops, 1 files" in fetched.output
    assert "unpacked: listops" in invoke("list", *options).output
    verified = invoke("verify", *options)
    assert verified.exit_code == 0
    assert "lra_release/lra_release/listops-1000: 1 files, as unpacked" in verified.output
    next((tmp_path / "data").rglob("basic_test.tsv")).write_text("changed")
    assert invoke("verify", *options).exit_code == 1


def test_a_mirror_can_be_named_in_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPION_BENCH_DATA_URL", server.url)
    for file in DATA_SETS["listops"].files:
        server.files[file.path] = b"Source\tTarget\r\n"
    result = invoke("fetch", "listops", "--data-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "listops-1000/basic_val.tsv").exists()


def test_a_failed_fetch_says_what_to_do(server: Server, tmp_path: Path) -> None:
    options = ["--base-url", server.url, "--data-dir", tmp_path]
    result = invoke("fetch", "imdb", *options)
    assert result.exit_code == 1
    assert "the server answered 404" in result.output
    assert f"put aclImdb_v1.tar.gz into {tmp_path}" in result.output


def test_verify_names_what_is_missing(tmp_path: Path) -> None:
    assert "Nothing to verify" in invoke("verify", "--data-dir", tmp_path).output
    result = invoke("verify", "cifar10", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert "missing  cifar-10-binary.tar.gz" in result.output


def test_prepare_takes_the_task_s_options(tmp_path: Path) -> None:
    options = [f"-o{name}={value}" for name, value in (("length", 64), ("tokens", "legacy"))]
    sizes = ["-on_train=10", "-on_dev=5", "-on_test=5"]
    result = invoke("prepare", "listops", "--data-dir", tmp_path, *options, *sizes)
    assert result.exit_code == 0, result.output
    assert "listops: 10 train, 5 dev, 5 test, 64 tokens" in result.output
    assert "tokenisation legacy" in result.output
    assert "every array matches" in invoke("verify", "--data-dir", tmp_path).output


def test_prepare_takes_all_that_a_profile_asks_for(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    small = "{ length = 64, n_train = 8, n_dev = 4, n_test = 4, seed = SEED }"
    groups = [
        f'[[cells]]\npasses = ["gate"]\ntask = "listops"\nmethods = ["dense_sdpa"]\noptions = {o}\n'
        for o in (small.replace("SEED", seed) for seed in ("0", "1", "0"))
    ]
    kernel = '[[cells]]\npasses = ["kernel"]\ncases = ["pattern_256"]\n'
    profile.write_text("\n".join(['name = "mine"\ndescription = ""', *groups, kernel]))
    result = invoke("prepare", "--profile", profile, "--data-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "prepared").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fetch"], 2, "Missing argument"),
        (["fetch", "cifar"], 2, "did you mean 'cifar10'"),
        (["fetch", "cifar10", "--part", "train"], 2, "it is not unpacked"),
        (["fetch", "imdb", "--base-url", "file:///"], 1, "expected an http or https address"),
        (["verify", "imbd"], 2, "did you mean 'imdb'"),
        (["prepare"], 2, "expected either TASK"),
        (["prepare", "image", "--profile", "smoke"], 2, "expected either TASK"),
        (["prepare", "--profile", "smok"], 2, "did you mean 'smoke'"),
        (["prepare", "listop"], 2, "'listop' is not one of"),
        (["prepare", "listops", "-o", "length"], 2, "expected NAME=VALUE, got 'length'"),
        (["prepare", "listops", "-o", "lenght=64"], 2, "did you mean 'length'"),
        (["prepare", "image", "-o", "source=cifar10"], 1, "needs cifar-10-binary.tar.gz"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    result = invoke(*arguments, "--data-dir", tmp_path)
    assert result.exit_code == code
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize("command", [[], ["list"], ["fetch"], ["verify"], ["prepare"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
