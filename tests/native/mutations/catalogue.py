"""The seeded bugs of the ``*.toml`` files: one changed text in one C++ or CUDA source each."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Mutation:
    """One bug: what to change, who must notice, and why it matters."""

    name: str
    file: str  # relative to the project, as in `csrc/cpu/common/tile.h`
    find: str  # occurs exactly once in the file
    replace: str
    tests: tuple[str, ...]  # of which at least one must fail, as pytest names them
    why: str
    library: str = "cpu"  # of LIBRARIES in libraries.py: where the file is compiled, and how
    message: str = ""  # what the tests' output has to say: who notices, where results may be right

    def occurrences(self, root: Path) -> int:
        """Return how often the text to change occurs in the project at ``root``."""
        return (root / self.file).read_text(encoding="utf-8").count(self.find)

    def apply(self, root: Path) -> str:
        """Change the project at ``root``; return the file's original text.

        Raises:
            ValueError: If the text to change does not occur exactly once.
        """
        if (found := self.occurrences(root)) != 1:
            raise ValueError(
                f"{self.name}: expected its text exactly once in {self.file}, found it {found} "
                "times; update its `find` in tests/native/mutations/"
            )
        path = root / self.file
        original = path.read_text(encoding="utf-8")
        path.write_text(original.replace(self.find, self.replace), encoding="utf-8")
        return original


def read_mutations() -> list[Mutation]:
    """Return the mutations of all files."""
    entries = []
    for file in sorted(FOLDER.glob("*.toml")):
        entries += tomllib.loads(file.read_text(encoding="utf-8"))["mutation"]
    return [Mutation(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
