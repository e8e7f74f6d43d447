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
from susceptometer.structure.bigrams import Bigrams

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
    "common bigram": "among the 1,000 most frequent pairs with its predecessor, and seen three times",
    "function": "an English function word: article, preposition, pronoun, conjunction, auxiliary",
    "capitalized": "its first letter is a capital",
    "other": "none of these",
}
"""Pattern name to its rule, in the order of the first axis of `token_patterns`."""

PATTERNS: tuple[str, ...] = tuple(RULES)

PRECEDENCE: tuple[str, ...] = (
    "induction", "spacing", "left delimiter", "right delimiter", "numeric", "word start", "word end",
    "word part", "formatting", "common bigram", "function", "capitalized", "other",
)  # fmt: skip
"""Which pattern names a token that has several."""


_FUNCTION_TEXT = (
    "a about above across after again against all along although am among an and another any are around as at be "
    "because been before behind being below beneath beside between beyond both but by can could did do does doing "
    "down during each either every few for from had has have having he her here hers herself him himself his how "
    "i if in into is it its itself just may me might mine more most must my myself near neither no nor not of off "
    "on once only onto or other our ours ourselves out over own per same shall she should since so some such than "
    "that the their theirs them themselves then there these they this those though through till to toward towards "
    "under until up upon us very via was we were what when where whether which while who whom whose why will with "
    "within without would yet you your yours yourself yourselves "
)
FUNCTION_WORDS = frozenset(_FUNCTION_TEXT.split())
"""English words that hold sentences together."""


def token_patterns(
    tokens: Sequence[Sequence[str]],
    ids: NDArray[np.integer],
    *,
    bigrams: Bigrams | None = None,
    induction_below: float | None = None,
) -> Flags:
    """Which rules each token obeys.

    Args:
        tokens: Decoded strings of every row, leading spaces kept; rows of K strings.
        ids: Token ids ``[rows, K]``, used for equality of tokens only.
        bigrams: Pairs of a corpus with the same ids; None: counted in these rows.
        induction_below: Induction tokens must also be rarer than this after their predecessor in that corpus.

    Returns:
        ``[patterns, rows, K]``, in the order of `PATTERNS`.

    Raises:
        DataError: ``tokens`` and ``ids`` have different shapes.
    """
    words = _as_array(tokens, np.asarray(ids))
    flags = {name: _each(words, rule) for name, rule in _STRING_RULES.items()}
    pairs = Bigrams.of(np.asarray(ids)) if bigrams is None else bigrams
    flags["common bigram"] = pairs.common(np.asarray(ids))
    joined = _each(words, _letters)
    after = _shifted(joined, -1)
    flags["word part"] = joined & after
    flags["word end"] = joined & _shifted(_each(words, _ends_in_letter), 1) & ~_continues(words)
    flags["induction"] = _induction(np.asarray(ids), flags["spacing"] | flags["formatting"])
    if induction_below is not None:
        flags["induction"] &= pairs.probability(np.asarray(ids)) < induction_below
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
    return np.fromiter((known[word] for word in words.ravel()), bool, words.size).reshape(words.shape)


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


def _function(word: str) -> bool:
    return word.removeprefix(" ").lower() in FUNCTION_WORDS


def _capitalized(word: str) -> bool:
    return word.removeprefix(" ")[:1].isupper()


_STRING_RULES: dict[str, Callable[[str], bool]] = {
    "word start": _word_start,
    "spacing": _spacing,
    "left delimiter": lambda word: _only(word, "([{<"),
    "right delimiter": lambda word: _only(word, ")]}>"),
    "numeric": _numeric,
    "formatting": _formatting,
    "function": _function,
    "capitalized": _capitalized,
}


def _induction(ids: NDArray[np.integer], excluded: Flags) -> Flags:
    found = np.zeros(ids.shape, dtype=bool)
    for row, line in enumerate(ids.tolist()):
        seen: set[tuple[int, int]] = set()
        for place, pair in enumerate(pairwise(line), start=1):
            found[row, place] = pair in seen
            seen.add(pair)
    return found & ~excluded & ~_shifted(excluded, 1)
