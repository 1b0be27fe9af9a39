from spion_bench.records import Record
from spion_bench.report.docs.schema import (
    PAGE,
    ROOT,
    SECTION,
    documented_fields,
    models_of,
    schema_text,
)


def test_the_page_holds_what_the_models_say():
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert SECTION.read(page) == schema_text(), f"renew it: {SECTION.command}"


def test_every_field_says_what_it_means():
    silent = [
        f"{model.__name__}.{name}"
        for model in models_of(Record)
        for name in model.model_fields
        if not documented_fields(model).get(name)
    ]
    assert silent == []


def test_models_are_found_through_unions_lists_and_maps():
    names = [model.__name__ for model in models_of(Record)]
    assert names[0] == "Record"
    assert {"TaskCell", "KernelCell", "Metric", "GateError", "Load"} <= set(names)
    assert len(names) == len(set(names))


def test_a_field_is_shown_with_type_default_and_meaning():
    text = schema_text()
    assert "| `length` | integer | required | Sequence length in tokens. |" in text
    assert "| `metrics` | map: text to [Metric](#metric) | empty | Every number, by name. |" in text
    assert "| `started_at` | UTC time | required |" in text
