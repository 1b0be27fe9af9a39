from __future__ import annotations

import random
from collections import Counter
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.tasks.listops.expressions import (
    CLOSE_ID,
    OPERATORS,
    PAD_ID,
    TOKENS,
    draw_expression,
    tokenise,
    value_of,
)

# A digit, or an operator's name and its arguments.
TREES = st.recursive(
    st.integers(0, 9),
    lambda inner: st.builds(
        lambda name, arguments: [name, *arguments],
        st.sampled_from(tuple(OPERATORS)),
        st.lists(inner, min_size=1, max_size=5),
    ),
    max_leaves=40,
)


def text_of(tree: Any) -> str:
    """Write an expression as the Long Range Arena does."""
    if isinstance(tree, int):
        return str(tree)
    text = f"[{tree[0]}"
    for argument in tree[1:]:
        text = f"( {text} {text_of(argument)} )"
    return f"( {text} ] )"


def token_names(ids: bytes) -> list[str]:
    return [TOKENS[number - 1] for number in ids]


def independent_value(text: str) -> int:
    """Evaluate the text by rewriting innermost operations, sharing nothing with the package."""
    words = [word for word in text.split() if word not in "()"]
    while len(words) > 1:
        end = words.index("]")
        start = max(i for i in range(end) if words[i].startswith("["))
        arguments = [int(word) for word in words[start + 1 : end]]
        value = {
            "[MIN": lambda a: sorted(a)[0],
            "[MAX": lambda a: sorted(a)[-1],
            "[MED": lambda a: int(median(a)),
            "[SM": lambda a: int(str(sum(a))[-1]),
        }[words[start]](arguments)
        words[start : end + 1] = [str(value)]
    return int(words[0])


def test_golden_expressions_have_the_official_text_value_and_tokens(
    golden: dict[str, Any],
) -> None:
    for expected in golden["listops_expressions"]["expected"]:
        ids = tokenise(expected["source"])
        assert text_of(expected["tree"]) == expected["source"]
        assert value_of(ids) == expected["value"]
        assert len(ids) == expected["length_counted_by_generator"]
        assert [name.replace("]", "X") for name in token_names(ids)] == expected["tokens_official"]
        legacy = [name.lstrip("[") for name in token_names(ids) if name != "]"]
        assert legacy == expected["tokens_alphanumeric_only"]


def test_golden_ambiguity_needs_the_brackets(golden: dict[str, Any]) -> None:
    first, second = golden["listops_ambiguity"]["expected"]
    ids = [tokenise(case["source"]) for case in (first, second)]
    without_brackets = [bytes(i for i in row if i != CLOSE_ID) for row in ids]
    assert [value_of(row) for row in ids] == [first["value"], second["value"]]
    assert ids[0] != ids[1]
    assert without_brackets[0] == without_brackets[1]


def test_token_ids_are_the_documented_ones() -> None:
    assert PAD_ID == 0
    assert tokenise("[MIN [MAX [MED [SM ] 0 1 2 3 4 5 6 7 8 9") == bytes(range(1, 16))


@given(TREES)
def test_values_agree_with_an_independent_evaluator(tree: Any) -> None:
    text = text_of(tree)
    ids = tokenise(text)
    assert value_of(ids) == independent_value(text)
    assert token_names(ids) == [word for word in text.split() if word not in "()"]


@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(2, 6))
def test_drawn_expressions_are_well_formed_and_carry_their_value(
    seed: int, max_depth: int, max_arguments: int
) -> None:
    draw = random.Random(seed).random
    for _ in range(20):
        drawn = draw_expression(
            draw, max_depth=max_depth, max_arguments=max_arguments, max_length=10_000
        )
        assert drawn is not None
        ids, value = drawn
        assert value_of(ids) == independent_value(" ".join(token_names(ids))) == value
        depth, counts = shape_of(ids)
        assert depth <= max_depth
        assert all(2 <= count <= max_arguments for count in counts)


def shape_of(ids: bytes) -> tuple[int, list[int]]:
    """Return the depth of an expression, and the number of arguments of each operation."""
    deepest, closed, open_counts = 1, [], [0]
    for name in token_names(ids):
        if name == "]":
            closed.append(open_counts.pop())
            continue
        open_counts[-1] += 1
        deepest = max(deepest, len(open_counts))
        if name.startswith("["):
            open_counts.append(0)
    return deepest, closed


def test_draws_follow_the_original_order() -> None:
    # nest, two arguments; digit 3; nest, two arguments, digits 7 and 1, MAX; the outer MED
    numbers = iter([0.25, 0.0, 0.26, 0.35, 0.2, 0.0, 0.9, 0.75, 0.9, 0.15, 0.3, 0.6])
    drawn = draw_expression(numbers.__next__, max_depth=10, max_arguments=10, max_length=2000)
    assert drawn is not None
    assert token_names(drawn[0]) == ["[MED", "3", "[MAX", "7", "1", "]", "]"]
    assert drawn[1] == 5
    assert next(numbers, None) is None


def test_deepest_nodes_are_digits_without_a_draw() -> None:
    numbers = iter([0.1, 0.0, 0.4, 0.5, 0.0])  # at depth 2 of 2 nothing is drawn but the digit
    drawn = draw_expression(numbers.__next__, max_depth=2, max_arguments=10, max_length=2000)
    assert drawn is not None
    assert token_names(drawn[0]) == ["[MIN", "4", "5", "]"]


@pytest.mark.parametrize("max_length", [5, 100, 2000])
def test_draw_keeps_exactly_the_expressions_below_max_length(max_length: int) -> None:
    # Unbounded draws of the same seed, up to the first one that is too long, must be the same.
    bounded, unbounded = random.Random(5).random, random.Random(5).random
    for _ in range(2000):
        short = draw_expression(bounded, max_depth=10, max_arguments=10, max_length=max_length)
        full = draw_expression(unbounded, max_depth=10, max_arguments=10, max_length=10**9)
        assert full is not None
        if len(full[0]) >= max_length:
            assert short is None
            break
        assert short == full
    else:
        pytest.fail("the seed gave no expression of max_length tokens or more")


def test_generator_statistics_are_those_of_the_original() -> None:
    draw = random.Random(1).random
    n_draws = 20_000
    drawn = [
        draw_expression(draw, max_depth=10, max_arguments=10, max_length=2000)
        for _ in range(n_draws)
    ]
    accepted = [item for item in drawn if item is not None and len(item[0]) > 500]
    lengths = [len(ids) for ids, _ in accepted]
    labels = Counter(value for _, value in accepted)
    n_operations = [ids.count(CLOSE_ID) for ids, _ in accepted]
    # 20000 trees accepted by the original: 8.3 % of all, 1.1 % too long, mean length 1039, mean
    # 148 operations, labels .174 .089 .080 .082 .087 .083 .078 .073 .089 .166
    assert len(accepted) / n_draws == pytest.approx(0.083, abs=0.008)
    assert drawn.count(None) / n_draws == pytest.approx(0.011, abs=0.004)
    assert sum(lengths) / len(lengths) == pytest.approx(1039, abs=50)
    assert sum(n_operations) / len(n_operations) == pytest.approx(148, abs=8)
    published = [0.174, 0.089, 0.080, 0.082, 0.087, 0.083, 0.078, 0.073, 0.089, 0.166]
    shares = [labels[digit] / len(accepted) for digit in range(10)]
    assert shares == pytest.approx(published, abs=0.04)


@pytest.mark.parametrize("text", ["( ( [FIRST 1 ) ] )", "( ( [max 1 ) ] )", "10"])
def test_tokenise_names_the_unknown_word(text: str) -> None:
    with pytest.raises(ValueError, match="is no token"):
        tokenise(text)


@pytest.mark.parametrize("ids", [b"", bytes([6, 7]), bytes([5]), bytes([1, 5]), bytes([1, 6])])
def test_incomplete_expressions_have_no_value(ids: bytes) -> None:
    with pytest.raises(ValueError, match="ids: "):
        value_of(ids)
