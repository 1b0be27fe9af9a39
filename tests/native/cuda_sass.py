"""The machine code of the CUDA kernels, as nvdisasm prints it: functions, loops, counts.

Pure functions over text. ``tests.native.cuda_loops`` says what the counts have to be.

A loop is a natural loop: a head that dominates the branch back to it, and every instruction from
which that branch can be reached without the head. Each instruction counts once, so that a count is
what one turn executes at most.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter

SECTION = re.compile(r"^\.text\.(\S+):$")
LABEL = re.compile(r"^(\.L_\w+):$")
INSTRUCTION = re.compile(
    r"^/\*[0-9a-f]+\*/\s+(?P<predicate>@!?U?P\w+\s+)?(?P<name>[A-Z]\w*(?:\.\w+)*)\s*(?P<rest>[^;]*);"
)
TARGET = re.compile(r"`\((\.L_\w+)\)")
JUMPS = ("BRA", "CALL")
BARRIER = re.compile(r"\bB\d+\b")


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``name`` with its modifiers, for example ``LDGSTS.E.BYPASS.128``."""

    name: str
    operands: str = ""
    is_predicated: bool = False

    @property
    def opcode(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Function:
    """A kernel: its mangled name, its instructions and the index that each label stands for."""

    symbol: str
    code: tuple[Instruction, ...]
    labels: dict[str, int]


@dataclass(frozen=True)
class Loop:
    """The index of a loop's head and the indices of all its instructions."""

    head: int
    body: frozenset[int]


def parse(text: str) -> list[Function]:
    """Read the functions in the output of ``nvdisasm``."""
    functions = []
    symbol, code, labels = "", [], {}
    for line in (*(line.strip() for line in text.splitlines()), ".text.end:"):
        if section := SECTION.match(line):
            if code:
                functions.append(Function(symbol, tuple(code), labels))
            symbol, code, labels = section[1], [], {}
        elif label := LABEL.match(line):
            labels[label[1]] = len(code)
        elif found := INSTRUCTION.match(line):
            code.append(Instruction(found["name"], found["rest"].strip(), bool(found["predicate"])))
    return functions


def successors(function: Function) -> list[tuple[int, ...]]:
    """Return where control can go after each instruction.

    ``BRA.DIV`` leaves for code that only a diverged warp runs; the emulator aborts on those, so its
    branch is not followed. ``BSYNC`` continues where the ``BSSY`` of its barrier says. A call of a
    label of the same function is how ptxas writes some jumps; calls of other functions return.
    """
    result: list[tuple[int, ...]] = []
    meeting_points: dict[str, int] = {}
    for i, instruction in enumerate(function.code):
        following = (i + 1,) if i + 1 < len(function.code) else ()
        target = TARGET.search(instruction.operands)
        barrier = BARRIER.search(instruction.operands)
        if instruction.opcode == "BSSY" and target and barrier:
            meeting_points[barrier[0]] = function.labels[target[1]]
        if instruction.opcode in ("BRX", "JMX"):
            raise ValueError(f"{function.symbol}: {instruction.name} goes where no label says")
        if instruction.opcode == "BSYNC" and barrier:
            result.append((meeting_points[barrier[0]],))
        elif instruction.opcode in JUMPS and target and not instruction.name.startswith("BRA.DIV"):
            # `BRA P1, target` has its condition among the operands.
            is_certain = not instruction.is_predicated and instruction.operands.startswith("`")
            result.append((function.labels[target[1]], *(() if is_certain else following)))
        elif instruction.opcode in ("EXIT", "RET") and not instruction.is_predicated:
            result.append(())
        else:
            result.append(following)
    return result


def loops(function: Function) -> list[Loop]:
    """Return the natural loops in the order of their heads, one per head."""
    following = successors(function)
    preceding: list[list[int]] = [[] for _ in following]
    reached, waiting = {0}, [0]
    while waiting:
        i = waiting.pop()
        for j in following[i]:
            preceding[j].append(i)
            if j not in reached:
                reached.add(j)
                waiting.append(j)
    dominators = _dominators(sorted(reached), preceding)
    bodies: dict[int, set[int]] = {}
    for tail in sorted(reached):
        for head in following[tail]:
            if dominators[tail] >> head & 1:
                bodies.setdefault(head, {head}).update(_reaching(tail, head, preceding))
    return [Loop(head, frozenset(bodies[head])) for head in sorted(bodies)]


def _dominators(nodes: list[int], preceding: list[list[int]]) -> dict[int, int]:
    """Return each node's dominators as bits; the first node is the entry."""
    everything = (1 << (nodes[-1] + 1)) - 1
    result = dict.fromkeys(nodes, everything) | {nodes[0]: 1 << nodes[0]}
    is_changing = True
    while is_changing:
        is_changing = False
        for node in nodes[1:]:
            common = everything
            for before in preceding[node]:
                common &= result[before]
            common |= 1 << node
            is_changing |= common != result[node]
            result[node] = common
    return result


def _reaching(tail: int, head: int, preceding: list[list[int]]) -> set[int]:
    """Return what reaches ``tail`` without passing ``head``."""
    found, waiting = {tail, head}, [tail] if tail != head else []
    while waiting:
        for before in preceding[waiting.pop()]:
            if before not in found:
                found.add(before)
                waiting.append(before)
    return found


def outermost_with(function: Function, opcode: str) -> list[Loop]:
    """Return the loops that hold an opcode and lie in no other one, in the order of their heads."""
    holding = [
        loop
        for loop in loops(function)
        if any(function.code[i].opcode == opcode for i in loop.body)
    ]
    return [loop for loop in holding if not any(loop.body < other.body for other in holding)]


def around(function: Function, loop: Loop) -> int:
    """Return how many instructions the longest way to an outermost loop and on to the end has.

    The loop's own do not count, those of every other loop count once.
    """
    every = loops(function)
    outermost = [one for one in every if not any(one.body < other.body for other in every)]
    group = list(range(len(function.code)))  # an outermost loop goes by its head
    for one in outermost:
        for i in one.body:
            group[i] = one.head
    following: dict[int, set[int]] = {}
    for i, nexts in enumerate(successors(function)):
        following.setdefault(group[i], set()).update(
            group[j] for j in nexts if group[j] != group[i]
        )
    size = Counter(group[i] for i, one in enumerate(function.code) if one.opcode != "NOP")
    order = tuple(TopologicalSorter(following).static_order())  # what follows comes first
    to_end: dict[int, int] = {}
    for node in order:
        to_end[node] = size[node] + max((to_end[j] for j in following[node]), default=0)
    from_start = {group[0]: 0}
    for node in reversed(order):
        for j in following[node] if node in from_start else ():
            from_start[j] = max(from_start.get(j, 0), from_start[node] + size[node])
    return from_start[loop.head] + to_end[loop.head] - size[loop.head]


def count(function: Function, indices: Iterable[int] | None = None) -> Counter[str]:
    """Count instructions by name with modifiers, of a loop's body or of the whole function."""
    chosen = range(len(function.code)) if indices is None else indices
    return Counter(function.code[i].name for i in chosen if function.code[i].opcode != "NOP")


def total(counts: Counter[str], *prefixes: str) -> int:
    """Sum the counts of the names that are one of ``prefixes`` or continue it after a dot."""
    return sum(
        n for name, n in counts.items() if f"{name}.".startswith(tuple(f"{p}." for p in prefixes))
    )
