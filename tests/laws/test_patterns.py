"""Token patterns obey their rules, whatever the tokenizer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from susceptometer.errors import DataError
from susceptometer.structure.bigrams import Bigrams
from susceptometer.structure.patterns import (
    PATTERNS,
    PRECEDENCE,
    pattern_class,
    spacing_run,
    token_patterns,
)


def named(row: list[str]) -> list[set[str]]:
    """The patterns of every token of one row."""
    _, ids = np.unique(np.array(row, dtype=object), return_inverse=True)
    flags = token_patterns([row], ids.reshape(1, -1))
    return [{PATTERNS[k] for k in np.flatnonzero(flags[:, 0, place])} for place in range(len(row))]


@pytest.mark.parametrize(
    ("row", "place", "expected"),
    [
        ([".", " cat", " the"], 1, {"word start"}),
        ([".", " the", " cat"], 1, {"word start", "function"}),
        (["\n", "The", " cat"], 1, {"function", "capitalized"}),
        ([".", " Élan", " cat"], 1, {"word start", "capitalized"}),
        ([" sus", "cept", "ible", "."], 1, {"word part"}),
        ([" sus", "cept", "ible", "."], 2, {"word end"}),
        ([" sus", "cept", " it"], 1, {"word end"}),
        ([".", "cept", "."], 1, {"other"}),
        (["a", "\n", "\n"], 2, {"spacing"}),
        (["f", "(", "x", ")"], 1, {"left delimiter"}),
        (["f", " ((", "x", ")"], 1, {"left delimiter"}),
        (["f", "(", "x", ")]"], 3, {"right delimiter"}),
        (["=", " 42"], 1, {"numeric"}),
        (["=", "1.5"], 1, {"other"}),
        (["x", " ==", "y"], 1, {"formatting"}),
        ([" é", "tré", "s"], 1, {"word part"}),
        (["", "x"], 0, {"other"}),
    ],
)
def test_each_rule(row, place, expected):
    assert named(row)[place] == expected


def test_induction_needs_the_same_predecessor_in_the_same_row():
    row = [" Mr", " Dursley", " saw", " Mr", " Dursley", " Dursley"]
    assert ["induction" in names for names in named(row)] == [False] * 4 + [True, False]
    flags = token_patterns([["a", "b"], ["a", "b"]], np.array([[1, 2], [1, 2]]))
    assert not flags[PATTERNS.index("induction")].any()


def test_induction_leaves_spacing_and_formatting_out():
    names = named(["a", "\n", "a", "\n", "x", ",", "x", ",", "x"])
    assert not any("induction" in found for found in names)


def test_common_bigrams_are_counted_in_the_corpus_within_rows():
    corpus = np.array([[1, 2, 3, 1, 2], [1, 2, 4, 4, 4], [2, 4, 0, 0, 0]])
    pairs = Bigrams.of(corpus)
    rows = np.array([[1, 2, 3, 9, 1], [4, 4, 0, 0, 2]])
    assert pairs.common(rows).tolist() == [[False, True, False, False, False], [False] * 5]
    half = pairs.probability(np.array([[1, 2, 4, 4, 0], [2, 3, 9, 9, 0]]))
    assert half.tolist() == [[1.0, 1.0, 2 / 3, 2 / 3, 1 / 3], [1.0, 1 / 3, 0.0, 0.0, 0.0]]


def test_only_the_most_frequent_pairs_are_common():
    rows = np.repeat(np.array([[first, 0] for first in range(1, 1502)]), 3, axis=0)
    frequent = np.concatenate([rows, np.repeat([[1500, 0], [1501, 0]], 5, axis=0)])
    found = Bigrams.of(frequent).common(np.array([[first, 0] for first in range(1, 1502)]))[:, 1]
    assert found.sum() == 1000
    assert found[-2:].all()


def test_induction_can_ask_for_rare_pairs():
    row, ids = [["x", "y", "z", "x", "y"]], np.array([[1, 2, 3, 1, 2]])
    corpus = Bigrams.of(np.array([[1, 2, 1, 3, 1, 3], [1, 3, 1, 3, 1, 3]]))
    rare = [
        token_patterns(row, ids, bigrams=corpus, induction_below=below)[PATTERNS.index("induction"), 0, 4]
        for below in (0.1, 0.2)
    ]
    assert rare == [False, True]


def test_spacing_run_counts_the_white_space_before():
    spacing = np.array([[False, True, True, False, False, True, False]])
    assert spacing_run(spacing).tolist() == [[0, 0, 1, 2, 0, 0, 1]]


def test_precedence_names_every_pattern_once():
    assert sorted(PRECEDENCE) == sorted(PATTERNS)


def test_shapes_must_agree():
    with pytest.raises(DataError, match="differ in shape"):
        token_patterns([["a", "b"]], np.zeros((1, 3), dtype=int))


words = st.text(alphabet="ab1 ([)\n.,é", max_size=4)


@given(st.lists(st.lists(words, min_size=5, max_size=5), min_size=1, max_size=4))
def test_every_token_has_a_pattern_and_one_class(rows):
    _, ids = np.unique(np.array(rows, dtype=object).ravel(), return_inverse=True)
    flags = token_patterns(rows, ids.reshape(len(rows), 5))
    assert flags.any(0).all()
    classes = pattern_class(flags)
    assert np.take_along_axis(flags, classes[None], 0).all()
    assert not (flags[-1] & flags[:-1].any(0)).any()
