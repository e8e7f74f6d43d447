"""Token patterns by exact rules: which tokens begin a word, repeat a pair, count white space, open a bracket.

The rules look at decoded strings, so they serve any tokenizer whose tokens carry their leading space.
Flags overlap; `pattern_class` picks one per token by a fixed order of precedence. The published definitions
are not known exactly; the names are those of wang2025 and gordon2026, the rules are ours (`RULES`).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import DataError

Flags = NDArray[np.bool_]

RULES: dict[str, str] = {
    "word start": "a space, then letters",
    "word part": "letters without a space, and the next token too",
    "word end": "letters without a space, after a letter, and the word stops here",
    "induction": "this token followed its predecessor before in the row; neither is spacing or formatting",
    "spacing": "white space only",
    "left delimiter": "opening brackets only, perhaps after a space",
    "right delimiter": "closing brackets only, perhaps after a space",
    "numeric": "digits, perhaps after a space",
    "formatting": "no letter or digit, and neither spacing nor delimiter",
    "other": "none of these",
}
"""Pattern name to its rule, in the order of the first axis of `token_patterns`."""

PATTERNS: tuple[str, ...] = tuple(RULES)

PRECEDENCE: tuple[str, ...] = (
    "induction", "spacing", "left delimiter", "right delimiter", "numeric", "word start", "word end",
    "word part", "formatting", "other",
)  # fmt: skip
"""Which pattern names a token that has several."""


def token_patterns(tokens: Sequence[Sequence[str]], ids: NDArray[np.integer]) -> Flags:
    """Which rules each token obeys.

    Args:
        tokens: Decoded strings of every row, leading spaces kept; rows of K strings.
        ids: Token ids ``[rows, K]``, used for equality of tokens only.

    Returns:
        ``[patterns, rows, K]``, in the order of `PATTERNS`.

    Raises:
        DataError: ``tokens`` and ``ids`` have different shapes.
    """
    words = _as_array(tokens, np.asarray(ids))
    flags = {name: _each(words, rule) for name, rule in _STRING_RULES.items()}
    joined = _each(words, _letters)
    after = _shifted(joined, -1)
    flags["word part"] = joined & after
    flags["word end"] = joined & _shifted(_each(words, _ends_in_letter), 1) & ~_continues(words)
    flags["induction"] = _induction(np.asarray(ids), flags["spacing"] | flags["formatting"])
    flags["other"] = ~np.any([flags[name] for name in PATTERNS[:-1]], axis=0)
    return np.stack([flags[name] for name in PATTERNS])


def pattern_class(flags: Flags) -> NDArray[np.intp]:
    """One pattern per token by `PRECEDENCE`: ``[patterns, ...] -> [...]``, an index into `PATTERNS`."""
    order = [PATTERNS.index(name) for name in PRECEDENCE]
    return np.asarray(order)[flags[order].argmax(0)]


def spacing_run(spacing: Flags) -> NDArray[np.int64]:
    """Number of spacing tokens immediately before each token: bool ``[rows, K]`` -> int ``[rows, K]``."""
    run = np.zeros(spacing.shape, dtype=np.int64)
    for place in range(1, spacing.shape[1]):
        run[:, place] = np.where(spacing[:, place - 1], run[:, place - 1] + 1, 0)
    return run


def _as_array(tokens: Sequence[Sequence[str]], ids: NDArray[np.integer]) -> NDArray[np.object_]:
    sizes = {len(row) for row in tokens}
    if ids.ndim != 2 or len(tokens) != ids.shape[0] or sizes - {ids.shape[1]}:
        raise DataError(
            "token strings and token ids differ in shape",
            where="token_patterns",
            value=f"{len(tokens)} rows of {sorted(sizes)} strings, ids {ids.shape}",
            why="patterns look at a token's neighbours in its own row",
            do="pass one string per id, row by row",
        )
    words = np.empty(ids.shape, dtype=object)
    for place, row in enumerate(tokens):
        words[place] = list(row)
    return words


def _each(words: NDArray[np.object_], rule: Callable[[str], bool]) -> Flags:
    known: dict[str, bool] = {word: rule(word) for word in set(words.ravel())}
    return np.fromiter((known[word] for word in words.ravel()), bool, words.size).reshape(
        words.shape
    )


def _shifted(flags: Flags, by: int) -> Flags:
    """Flags of the token ``by`` places before (negative: after); False beyond the row."""
    moved = np.zeros_like(flags)
    if by > 0:
        moved[:, by:] = flags[:, :-by]
    else:
        moved[:, :by] = flags[:, -by:]
    return moved


def _continues(words: NDArray[np.object_]) -> Flags:
    return _shifted(_each(words, lambda word: word[:1].isalpha()), -1)


def _letters(word: str) -> bool:
    return word.isalpha()


def _ends_in_letter(word: str) -> bool:
    return word[-1:].isalpha()


def _word_start(word: str) -> bool:
    return word[:1] == " " and word[1:].isalpha()


def _spacing(word: str) -> bool:
    return word.isspace()


def _only(word: str, characters: str) -> bool:
    bare = word.removeprefix(" ")
    return bool(bare) and set(bare) <= set(characters)


def _numeric(word: str) -> bool:
    bare = word.removeprefix(" ")
    return bare.isascii() and bare.isdigit()


def _formatting(word: str) -> bool:
    marked = bool(word) and not any(letter.isalnum() for letter in word)
    return marked and not (_spacing(word) or _only(word, "([{<") or _only(word, ")]}>"))


_STRING_RULES: dict[str, Callable[[str], bool]] = {
    "word start": _word_start,
    "spacing": _spacing,
    "left delimiter": lambda word: _only(word, "([{<"),
    "right delimiter": lambda word: _only(word, ")]}>"),
    "numeric": _numeric,
    "formatting": _formatting,
}


def _induction(ids: NDArray[np.integer], excluded: Flags) -> Flags:
    found = np.zeros(ids.shape, dtype=bool)
    for row, line in enumerate(ids.tolist()):
        seen: set[tuple[int, int]] = set()
        for place, pair in enumerate(pairwise(line), start=1):
            found[row, place] = pair in seen
            seen.add(pair)
    return found & ~excluded & ~_shifted(excluded, 1)
