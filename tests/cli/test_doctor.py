from click.testing import CliRunner

from spion_bench.cli import main


def doctor(*arguments):
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_the_cache_of_built_kernels_is_emptied(tmp_path, monkeypatch):
    monkeypatch.setenv("SPION_BENCH_CACHE", str(tmp_path))
    build = tmp_path / "spion_bench-0123456789abcdef"
    build.mkdir()
    (build / "spion_bench.so").write_bytes(b"x" * 2_000_000)
    (tmp_path / "mine.txt").touch()
    result = doctor("--clean-cache")
    assert (result.exit_code, result.output.splitlines()) == (
        0,
        [f"removed {build}", f"2 MB removed from {tmp_path}"],
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_building_and_removing_are_not_both_asked_for():
    result = doctor("--clean-cache", "--build")
    assert result.exit_code == 2
    assert "--clean-cache removes what --build builds" in result.output
