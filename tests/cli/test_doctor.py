from click.testing import CliRunner

from spion_bench.cli import main


def test_doctor_answers(tmp_path):
    result = CliRunner().invoke(main, ["doctor", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "C++ compiler" in result.output
    assert "spion-bench data fetch cifar10" in result.output


def test_doctor_ends_with_code_1_if_run_could_not_work(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 1
