"""The fields of a record, from the models that read and write it.

``python -m spion_bench.report.docs.schema`` writes them into docs/schema.md of the checkout that
it runs in; a test compares the page with what it would write. No torch.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from spion_bench.records.schema import Record
from spion_bench.suite.pages import Section, markdown_table

ROOT: Final = Path(__file__).resolve().parents[3]
PAGE: Final = "docs/schema.md"
SECTION: Final = Section("python -m spion_bench.report.docs.schema")

_WORDS: Final[dict[Any, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "text",
    AwareDatetime: "UTC time",
}
_HEADING = re.compile(r"^(Attributes|Returns|Raises|Args):$", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w+): ?(.*(?:\n {6,}.*)*)", re.MULTILINE)


def models_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model and every model that its fields hold, in the order of the fields."""
    found: dict[type[BaseModel], None] = {}
    waiting = [model]
    while waiting:
        each = waiting.pop(0)
        if each not in found:
            found[each] = None
            waiting += [m for field in each.model_fields.values() for m in _held(_type_of(field))]
    return list(found)


def schema_text() -> str:
    """Return every model of a record: what it is, and its fields with type, default and meaning."""
    return "\n\n".join(_model_text(model) for model in models_of(Record))


def write_schema(root: Path = ROOT) -> Path:
    """Write the fields into the page below ``root`` and return it."""
    SECTION.write(root / PAGE, schema_text())
    return root / PAGE


def documented_fields(model: type[BaseModel]) -> dict[str, str]:
    """Return what a model's docstring, and those of its bases, say of its fields."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            _, attributes = _split(inspect.getdoc(each) or "")
            found.update({n: " ".join(text.split()) for n, text in _ENTRY.findall(attributes)})
    return found


def _split(doc: str) -> tuple[str, str]:
    """Return what a docstring says before its list of attributes, and the list."""
    before, _, after = doc.partition("Attributes:\n")
    return before.strip(), _HEADING.split(after)[0]


def _model_text(model: type[BaseModel]) -> str:
    meaning = documented_fields(model)
    rows = [
        (f"`{name}`", _shown(_type_of(field)), _default(field), _plain(meaning.get(name, "")))
        for name, field in model.model_fields.items()
    ]
    table = markdown_table(("Field", "Type", "If absent", "Meaning"), rows)
    what, _ = _split(inspect.getdoc(model) or "")
    return f"### {model.__name__}\n\n{_plain(what)}\n\n{table}"


def _type_of(field: FieldInfo) -> Any:
    return field.annotation


def _held(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the models inside a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from _held(part)


def _shown(kind: Any) -> str:
    """Return a type in words that need no knowledge of Python's typing."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _shown(parts[0])
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if part is type(None) else _shown(part) for part in parts)
    if origin is dict:
        return f"map: {_shown(parts[0])} to {_shown(parts[1])}"
    if origin in (list, tuple):
        return f"list of {_shown(parts[0])}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return _WORDS.get(kind, str(kind.__name__))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default in ([], {}, (), ""):
        return "empty"
    return "null" if default is None else f"`{str(default).lower()}`"


def _plain(text: str) -> str:
    """Return a docstring's text as Markdown: one line per paragraph, its literals in backticks."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    told = "\n\n".join(paragraphs).replace("``", "`").replace("|", "\\|")
    return re.sub(r"\bNone\b", "null", told)


if __name__ == "__main__":
    print(f"{write_schema()}: schema written")
