import pytest

from spion_bench.records.names import UsageError
from spion_bench.records.settings import MeasureSettings
from spion_bench.suite.methods import METHODS
from spion_bench.suite.profile import CellGroup, Profile, load_profile, profile_names
from tests import ROOT

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
        (
            ("dense_sdpa", "dens_sdpa"),
            "line 7: cells[1].methods: unknown method 'dens_sdpa': did you mean 'dense_sdpa'?",
        ),
        (('"image"', '"imag"'), "line 6: cells[1].task: unknown task 'imag': did you mean 'image'"),
        (('"speed"', '"sped"'), "line 5: cells[1].passes[1]: expected 'gate', 'steps', "),
        (('"speed"', '"power"'), "line 5: cells[1].passes[1]: expected 'gate'"),
        (
            ("methods =", "metods ="),
            "line 7: cells[1].metods: unknown field; did you mean 'methods'",
        ),
        (("[[cells]]", "[[cells]]\nseeds = []"), "line 5: cells[1].seeds: "),
        (("[[cells]]", '[[cells]]\ncases = ["attention_256"]'), "line 4: cells[1]: a group needs"),
        (
            ("[[cells]]", "[[cells]]\nmeasure = { rounds = 0 }"),
            "line 5: cells[1].measure.rounds: expected greater than 0, got 0",
        ),
        (
            ("[[cells]]", "[[cells]]\nmeasure = { round = 0 }"),
            "line 5: cells[1].measure.round: unknown field; did you mean 'rounds'",
        ),
        (
            ("[[cells]]", "[[cells]]\ntrain = { steps = 0 }"),
            "line 5: cells[1].train: image: train: steps: expected greater than 0, got 0",
        ),
        (
            ("[[cells]]", "[[cells]]\noptions = { length = 5 }"),
            "line 5: cells[1].options: task image: option length: expected 256 or 1024, got 5",
        ),
        (
            ('["speed"]', '["speed", "accuracy"]\ncompile = "default"'),
            "line 4: cells[1]: compile: accuracy run uncompiled models only",
        ),
        (("methods = [", "methods = "), "line 7: "),
        (('["speed"]', '["kernel", "speed"]'), "line 4: cells[1]: a kernel group needs"),
        (('["speed"]', '["kernel"]'), "line 4: cells[1]: a kernel group needs"),
        (('name = "mine"', 'name = "../mine"'), "line 2: name: "),
        (('name = "mine"', 'nam = "mine"'), "line 1: name: is missing"),
        (('"mine"', '"mine'), "line 2: "),
        (
            ("[[cells]]", "# no groups: [[cells]]\nx = 1"),
            "unknown field; known: cells, description",
        ),
        (("[[cells]]", "[[cells]]\ntimeout_s = '" + "9" * 200 + "x'"), "...99999"),
        (("[[cells]]", "[[cells]]\nx = " + "[" * 9999), "nested too deeply"),
        (("[[cells]]", "[[cells]]\ntimeout_s = " + "9" * 5000), "Exceeds the limit"),
        (("[[cells]]", "[[cells]]\nprecision = 0x" + "f" * 5000), "an int that is too long"),
        (
            ("[[cells]]", f"[[cells]]\n{'9' * 5000} = 1"),
            "9 ... 999999999999999999999999999999: unk",
        ),
        (("[[cells]]", f"[[cells]]\ntrain.{'9' * 5000} = 1"), "9 ... 9999999999"),
    ],
    ids=lambda value: None if isinstance(value, str) else value[1][:40],
)
def test_wrong_profiles_are_refused_with_file_line_field_and_reason(write, change, message):
    path = write(GROUP.replace(*change))
    with pytest.raises(UsageError) as caught:
        load_profile(path)
    text = str(caught.value)
    assert text.startswith(f"profile {path}")
    assert message in text
    assert len(text) < 1000


def test_a_profile_of_mistakes_alone_is_not_repeated_in_the_message(write):
    mistakes = "\n".join(f"field{number} = {number}" for number in range(100))
    with pytest.raises(
        UsageError, match=r"field0: unknown field.* and 96 more mistakes$"
    ) as caught:
        load_profile(write(GROUP + mistakes))
    assert len(str(caught.value)) < 4000


def test_the_line_is_of_the_group_that_is_wrong(write):
    other = GROUP[GROUP.index("[[cells]]") :]
    with pytest.raises(UsageError, match=r"line 16: cells\[3\]\.task: unknown task 'imag'"):
        load_profile(
            write(
                GROUP
                + other.replace("task", "# a comment\ntask")
                + other.replace("image", "imag").replace("[[", "\n[[")
            )
        )


def test_a_byte_order_mark_is_read_over_and_other_encodings_are_named(write, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GROUP.encode())
    assert load_profile(str(path)).name == "mine"
    path.write_bytes("name = 'm\u00fcde'".encode("latin-1"))
    with pytest.raises(UsageError, match="not a text in UTF-8"):
        load_profile(str(path))


def test_every_field_of_a_profile_is_documented():
    text = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    for model in (Profile, CellGroup, MeasureSettings):
        for name in model.model_fields:
            assert f"| `{name}` |" in text


def test_unknown_kernel_case_is_refused(write):
    text = 'name = "k"\ndescription = ""\n[[cells]]\npasses = ["kernel"]\ncases = ["attention_25"]'
    with pytest.raises(UsageError, match="did you mean 'attention_256'"):
        load_profile(write(text))
