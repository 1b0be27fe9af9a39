from spion_bench.records import AttentionInfo
from spion_bench.report.load import load_records
from spion_bench.report.tables.methods import method_table
from tests.report.reading import rows_of
from tests.report.run_writer import RunWriter, method_info


def test_methods_with_parameters_caveats_and_passes(sample):
    rows = rows_of(method_table(sample))
    assert rows["dense_eager"]["caveats"].text == "stores all [B, H, L, L] probabilities"
    assert (
        rows["spion_cf"]["parameters"].text == "variant = CF, block_size = 8, pruned = zero_logit"
    )
    assert rows["spion_cf"]["passes"].text == "accuracy, gate, speed, memory"


def test_a_method_known_only_from_failures_is_listed_too(tmp_path):
    attention = AttentionInfo(exact=False)
    RunWriter(tmp_path).add("speed", "flex", status="crash", attention=attention)
    rows = rows_of(method_table(load_records(tmp_path)))
    assert rows["flex"]["exact"].text == "approximate"


def test_methods_state_their_kind_kernel_and_where_arguments_come_from(tmp_path):
    writer = RunWriter(tmp_path)
    facts = {"native": "PyTorch", "summary": "a window", "origins": {"window": "lra"}}
    for seed, window in enumerate((82, 163, 82)):
        writer.add("speed", method_info("window", arguments={"window": window}, **facts), seed=seed)
    rows = rows_of(method_table(load_records(tmp_path)), "parameters")
    assert list(rows) == [("window = 82 (lra)",), ("window = 163 (lra)",)]
    row = rows["window = 82 (lra)",]
    assert (row["kind"].text, row["kernel"].text) == ("sparse, rival", "PyTorch")
    assert row["method"].note == "a window"
