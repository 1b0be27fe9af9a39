import pytest

from spion_bench.records.statistics import Estimate
from spion_bench.report.claims.claim import Claim, claims_file, read_claims
from spion_bench.report.claims.table import claim_lines, in_one_sentence
from spion_bench.report.claims.verdict import CPU_FORM, Finding, judge

CLAIM = Claim(
    id="fast",
    title="It is faster",
    quote="up to 3x",
    source="a paper",
    device="cuda",
    rule="training_speed",
    reach=3.0,
    means="times",
    needs="speed cells",
)


def finding(value, low, high, p_value, *, device="cuda", setting="image", marks=()):
    estimate = Estimate(value, low, high, 8, "paired")
    return Finding(setting, device, estimate, "times", 1.0, p_value, "bigbird", tuple(marks))


def verdicts(claim, *findings):
    return [(j.form, j.verdict) for j in judge(claim, findings)]


def test_a_claimed_number_is_reached_partly_reached_or_not():
    reached = finding(2.9, 2.7, 3.1, 0.004)
    faster = finding(2.0, 1.9, 2.1, 0.004)
    unclear = finding(3.4, 0.9, 9.0, 0.2)
    assert verdicts(CLAIM, reached) == [("", "reproduced")]
    assert verdicts(CLAIM, faster) == [("", "partly")]
    assert verdicts(CLAIM, unclear) == [("", "not reproduced")]
    assert verdicts(CLAIM) == [("", "not run")]


def test_a_claim_without_a_number_must_hold_in_every_setting():
    claim = CLAIM.model_copy(update={"reach": None})
    better, worse = finding(2.0, 1.9, 2.1, 0.004), finding(0.9, 0.8, 0.95, 0.99)
    assert verdicts(claim, better) == [("", "reproduced")]
    assert verdicts(claim, better, worse) == [("", "partly")]
    assert verdicts(claim, worse) == [("", "not reproduced")]


def test_settings_are_adjusted_for_their_number():
    claim = CLAIM.model_copy(update={"reach": None})
    weak = [finding(1.2, 1.0, 1.4, 0.02, setting=name) for name in ("a", "b", "c")]
    assert verdicts(claim, weak[0]) == [("", "reproduced")]
    assert verdicts(claim, *weak) == [("", "not reproduced")]  # 3 x 0.02 is above 0.05
    assert "Holm over 3" in judge(claim, weak)[0].reason


def test_a_cpu_answers_only_the_cpu_form_of_a_claim_about_a_gpu():
    on_cpu = finding(3.2, 3.0, 3.4, 0.004, device="cpu")
    assert verdicts(CLAIM, on_cpu) == [("", "not comparable"), (CPU_FORM, "reproduced")]
    on_gpu = finding(1.5, 1.4, 1.6, 0.004)
    assert verdicts(CLAIM, on_cpu, on_gpu) == [("", "partly"), (CPU_FORM, "reproduced")]
    anywhere = CLAIM.model_copy(update={"device": ""})
    assert verdicts(anywhere, on_cpu) == [("", "reproduced")]


def test_marked_numbers_do_not_speak_but_are_shown():
    marked = finding(3.2, 3.0, 3.4, 0.004, marks=["A/A is off by 8 %"])
    (judgement,) = judge(CLAIM, [marked])
    assert judgement.verdict == "not run"
    assert judgement.leading is None
    assert "A/A is off by 8 %" in judgement.reason
    assert "Not counted: 3.20" in judgement.reason


def test_the_answer_counts_the_form_that_could_be_judged():
    other = CLAIM.model_copy(update={"id": "other"})
    on_cpu = finding(3.2, 3.0, 3.4, 0.004, device="cpu")
    answer = in_one_sentence([*judge(CLAIM, [on_cpu]), *judge(other, [])])
    assert answer == (
        "Yes, as far as measured, on this CPU: of 2 claims, 1 reproduced and 1 not judged."
    )


def test_a_claim_is_one_line_with_its_reason_and_the_rest_folded():
    on_cpu = finding(3.2, 3.0, 3.4, 0.004, device="cpu", marks=["A/A is off by 8 %; and so on"])
    (line,) = claim_lines(judge(CLAIM, [on_cpu]))
    assert (line.verdict.text, line.form) == ("not run", "On this CPU")
    assert (line.found.text, line.found.flag) == ("3.20\u00d7", "greyed")
    assert line.reason == "A/A is off by 8 %"
    assert line.details["Form"].endswith("on a GPU, these records are not comparable")
    assert "not counted: A/A is off by 8 %" in line.details["Found"]


def test_the_claims_that_come_with_the_suite_are_read():
    claims = {claim.id: claim for claim in read_claims()}
    assert claims["training-speed-arxiv"].reach == 3.08
    assert all(claim.means and claim.needs and claim.source for claim in claims.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no claim"),
        ("claims = 3", "claims"),
        ('[[claims]]\nid = "a"\nrule = "guess"', "rule"),
        ("[[claims", "claims.toml"),
        ("claims = " + "[" * 100_000, "claims.toml"),
        ("\ud8ff", "claims.toml"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(tmp_path, text, message):
    path = tmp_path / "claims.toml"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(ValueError, match=message) as caught:
        read_claims(path)
    assert str(path) in str(caught.value)


def test_a_claim_that_stands_there_twice_is_refused(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text(claims_file().read_text(encoding="utf-8") * 2, encoding="utf-8")
    with pytest.raises(ValueError, match="twice"):
        read_claims(path)
