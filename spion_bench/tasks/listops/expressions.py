"""ListOps expressions: token ids, values, and the random generator.

An expression is a digit or an operator with arguments, such as MAX(4, 3, MIN(2, 3)). The Long Range
Arena writes it as left-nested binary parentheses: MAX(4, 3) is ``( ( ( [MAX 4 ) 3 ) ] )``. Grammar
and probabilities are those of its generator (``data/listops.py``), which took them from Nangia and
Bowman (2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spion_bench.records.quote import quote

Example = tuple[bytes, int]
"""The ids of an expression's bracket tokens, one byte each, and its value."""


def _median(values: Sequence[int]) -> int:
    """Return the median; of an even count, the mean of the middle two without its fraction."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) // 2


OPERATORS: dict[str, Callable[[Sequence[int]], int]] = {
    "MIN": min,
    "MAX": max,
    "MED": _median,
    "SM": lambda values: sum(values) % 10,
}
_OPERATOR_NAMES = tuple(OPERATORS)

PAD_ID = 0
DIGITS = tuple("0123456789")
TOKENS = (*(f"[{name}" for name in _OPERATOR_NAMES), "]", *DIGITS)
"""Token ``TOKENS[i]`` has id ``i + 1``: ``[MIN`` 1, ``[MAX`` 2, ``[MED`` 3, ``[SM`` 4, ``]`` 5,
``0`` to ``9`` 6 to 15; id 0 pads. (The Long Range Arena's ids change from run to run.)"""
TOKEN_IDS = {token: number for number, token in enumerate(TOKENS, start=1)}
CLOSE_ID = TOKEN_IDS["]"]
_FIRST_DIGIT_ID = TOKEN_IDS["0"]

OPERATION_PROBABILITY = 0.25
MIN_ARGUMENTS = 2


def tokenise(text: str) -> bytes:
    """Return the ids of an expression's tokens, one byte each; round parentheses carry none.

    Raises:
        ValueError: If ``text`` holds a word that is no token.
    """
    try:
        words = text.replace("(", "").replace(")", "").split()
        return bytes([TOKEN_IDS[word] for word in words])
    except KeyError as error:
        raise ValueError(f"text: {quote(error.args[0])} is no token; expected {TOKENS}") from error


def value_of(ids: Sequence[int]) -> int:
    """Return the value, a digit, of the expression that the bracket tokens ``ids`` spell.

    Raises:
        ValueError: If they spell no complete expression.
    """
    # The outermost list collects the expression itself, as if it were an argument.
    stack: list[tuple[str, list[int]]] = [("", [])]
    for number in ids:
        if number >= _FIRST_DIGIT_ID:
            stack[-1][1].append(number - _FIRST_DIGIT_ID)
        elif number != CLOSE_ID:
            stack.append((TOKENS[number - 1][1:], []))
        elif len(stack) > 1 and stack[-1][1]:
            operator, arguments = stack.pop()
            stack[-1][1].append(OPERATORS[operator](arguments))
        else:
            raise ValueError(f"ids: a bracket closes nothing in {quote(list(ids), 10)}")
    if len(stack) != 1 or len(stack[0][1]) != 1:
        raise ValueError(f"ids: expected one complete expression, got {quote(list(ids), 10)}")
    return stack[0][1][0]


def draw_expression(
    random: Callable[[], float], *, max_depth: int, max_arguments: int, max_length: int
) -> tuple[bytes, int] | None:
    """Draw one expression of the Long Range Arena's distribution.

    A node above depth ``max_depth`` (the root's depth is 1) is an operation with probability 1/4;
    the deepest nodes are digits. Digits, the number of arguments (2 to ``max_arguments``) and
    operators (MIN, MAX, MED, SM) are uniform. The draws come in the original's order: whether to
    nest, then the digit, or the number of arguments, the arguments, and last the operator.

    Args:
        random: Returns uniform numbers in [0, 1), e.g. ``random.Random(seed).random``. Nothing
            else is drawn from: only this sequence is guaranteed to be the same in every Python.
        max_depth: Largest depth of a digit.
        max_arguments: Most arguments of an operation.
        max_length: Drawing stops as soon as the expression must reach this many tokens.

    Returns:
        Token ids and value of the expression, or None if it would have been too long.
    """
    if max_depth == 1 or random() > OPERATION_PROBABILITY:
        digit = int(random() * 10)
        return bytes([_FIRST_DIGIT_ID + digit]), digit
    n_counts = max_arguments - MIN_ARGUMENTS + 1
    outer: list[tuple[int, int, list[int]]] = []  # the open operations around the current one
    values: list[int] = []  # of the current operation's arguments so far
    start, missing = 0, MIN_ARGUMENTS + int(random() * n_counts)
    tokens = bytearray([PAD_ID])  # keeps the operator's place
    length = 2 + missing  # of the shortest expression that can still come out
    while length < max_length:
        if missing == 0:
            operator = int(random() * len(_OPERATOR_NAMES))
            tokens[start] = 1 + operator
            tokens.append(CLOSE_ID)
            value = OPERATORS[_OPERATOR_NAMES[operator]](values)
            if not outer:
                return bytes(tokens), value
            start, missing, values = outer.pop()
            values.append(value)
            continue
        missing -= 1
        if len(outer) + 2 < max_depth and random() <= OPERATION_PROBABILITY:
            outer.append((start, missing, values))
            start, missing, values = len(tokens), MIN_ARGUMENTS + int(random() * n_counts), []
            tokens.append(PAD_ID)
            length += 1 + missing
        else:
            digit = int(random() * 10)
            tokens.append(_FIRST_DIGIT_ID + digit)
            values.append(digit)
    return None
