import random

from spion_bench.report.methods import is_dense, is_spion, ordered
from tests.report.run_writer import method_info

NAMES = (
    *("dense_sdpa", "dense_eager", "spion_c", "spion_f", "spion_cf", "bigbird", "longformer"),
    *("longformer@matched", "reformer", "flex", "spion+bigbird_block"),
)


def test_methods_come_by_role_then_by_family_the_baseline_first():
    infos = [method_info(name) for name in NAMES]
    random.Random(0).shuffle(infos)
    assert ordered(infos) == list(NAMES)


def test_facts_count_and_names_do_not():
    odd = method_info("spion_like", family="dense", role="rival", variant=None)
    assert is_dense(odd)
    assert not is_spion(odd)
    learned = method_info("dense_pattern", family="spion", role="subject", variant="F")
    assert is_spion(learned)
    assert ordered([odd, learned]) == ["dense_pattern", "spion_like"]


def test_a_method_with_learned_patterns_on_a_different_kernel_is_not_spion():
    assert not is_spion(method_info("flex"))
