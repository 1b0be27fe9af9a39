import pytest

from spion_bench.suite import tables
from spion_bench.suite.methods import METHODS
from spion_bench.suite.tables import COMMAND, ROOT, SECTIONS, section, write_tables
from spion_bench.tasks.registry import task_names


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, found in SECTIONS.items() for name in found]
)
def test_the_pages_hold_what_the_registries_say(page, name):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert section(name).read(text) == SECTIONS[page][name](), f"renew it: {COMMAND}"


def test_every_method_and_task_has_its_row():
    methods, baselines = tables.methods_table(), tables.baselines_table()
    for name, method in METHODS.items():
        assert f"| `{name}` |" in methods
        assert (f"| `{name}` |" in baselines) is method.factory.startswith("baselines.")
    assert all(f"| `{name}` |" in tables.tasks_table() for name in task_names())


def test_settings_stand_with_their_origin():
    rows = {line.split("`")[1]: line for line in tables.baselines_table().splitlines()[2:]}
    assert "chunk = 64 (Skyformer), n_hashes = 2 (Skyformer)" in rows["reformer"]
    assert "block_size = SPION's (ours)" in rows["bigbird@spion_block"]
    assert "`window/longformer.py`" in rows["longformer"]


def test_tables_are_written_between_their_markers(tmp_path):
    for page, found in SECTIONS.items():
        (tmp_path / page).parent.mkdir(exist_ok=True)
        markers = [f"{section(name).begin}\nold\n{section(name).end}\n" for name in found]
        (tmp_path / page).write_text("before\n" + "".join(markers) + "after\n", encoding="utf-8")
    for page in write_tables(tmp_path):
        text = page.read_text(encoding="utf-8")
        assert text.startswith("before\n")
        assert text.endswith("after\n")
        assert "old" not in text.splitlines()
    page = tmp_path / "README.md"
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(ValueError, match=r"README\.md: expected the lines .* once each, in order"):
        write_tables(tmp_path)
    assert page.read_text(encoding="utf-8") == "no markers"
