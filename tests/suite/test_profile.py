import pytest

from spion_bench.records.names import UsageError
from spion_bench.suite.methods import METHODS
from spion_bench.suite.profile import load_profile, profile_names

GROUP = """
name = "mine"
description = "a test"
[[cells]]
passes = ["speed"]
task = "image"
methods = ["dense_sdpa"]
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", profile_names())
def test_bundled_profiles_are_valid_and_named_like_their_file(name):
    assert load_profile(name).name == name


def test_profile_from_a_path(write):
    profile = load_profile(write(GROUP))
    assert profile.cells[0].task == "image"
    assert profile.cells[0].measure.rounds > 0


def test_a_star_stands_for_every_method(write):
    profile = load_profile(write(GROUP.replace("dense_sdpa", "*")))
    assert profile.cells[0].methods == tuple(METHODS)


def test_unknown_profile_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'smoke'"):
        load_profile("smok")


def test_missing_file_is_named():
    with pytest.raises(UsageError, match=r"profile nowhere\.toml: No such file"):
        load_profile("nowhere.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("dense_sdpa", "dens_sdpa"), "did you mean 'dense_sdpa'"),
        (('"image"', '"imag"'), "did you mean 'image'"),
        (('"speed"', '"sped"'), "passes"),
        (('"speed"', '"energy"'), "passes"),
        (("methods =", "metods ="), "metods"),
        (("[[cells]]", "[[cells]]\nseeds = []"), "seeds"),
        (("[[cells]]", '[[cells]]\ncases = ["attention_256"]'), "belong to kernel groups"),
        (("[[cells]]", "[[cells]]\nmeasure = { rounds = 0 }"), "rounds"),
        (("methods = [", "methods = "), "profile"),
        (('["speed"]', '["kernel", "speed"]'), "a kernel group needs"),
        (('["speed"]', '["kernel"]'), "a kernel group needs"),
    ],
)
def test_wrong_profiles_are_refused_with_the_reason(write, change, message):
    with pytest.raises(UsageError, match=message):
        load_profile(write(GROUP.replace(*change)))


def test_unknown_kernel_case_is_refused(write):
    text = 'name = "k"\ndescription = ""\n[[cells]]\npasses = ["kernel"]\ncases = ["attention_25"]'
    with pytest.raises(UsageError, match="did you mean 'attention_256'"):
        load_profile(write(text))
