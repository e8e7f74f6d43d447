"""Strings of parentheses on which two rules agree, and those that tell the rules apart.

Nested: no prefix closes more than it opened, and the whole is balanced. Equal-Count: as many ``(`` as ``)``.
Every training string is TRUE under both rules or FALSE under both; a string with equal counts that is not
nested shows which of the two a network has learned (li2025; steered by the choice of data in wang2026).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed

START, PAD, END, OPEN, CLOSE = range(5)
"""The vocabulary, in the order of the embedding."""

Rows = NDArray[np.bool_] | NDArray[np.int64] | slice
"""Which strings: a mask, numbers, or a slice."""

TRIES = 10_000
"""Rejection rounds before an impossible request is reported."""


@dataclass(frozen=True)
class Strings:
    """Strings as steps: +1 for ``(``, -1 for ``)``, 0 after the end.

    steps: ``[rows, longest]`` int8.
    lengths: ``[rows]`` int64.
    """

    steps: NDArray[np.int8]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, rows: Rows) -> "Strings":
        return Strings(self.steps[rows], self.lengths[rows])

    @property
    def depth(self) -> NDArray[np.int64]:
        """Open minus closed after every character, ``[rows, longest]``; constant after the end."""
        return np.cumsum(self.steps, 1, dtype=np.int64)


def joined(parts: list[Strings]) -> Strings:
    """All strings of equally wide parts, in order."""
    return Strings(np.concatenate([p.steps for p in parts]), np.concatenate([p.lengths for p in parts]))


def parsed(texts: list[str]) -> Strings:
    """Written strings as steps.

    Raises:
        DataError: A character is no parenthesis, or a string is empty.
    """
    if any(not text or set(text) - set("()") for text in texts):
        raise DataError("not a string of parentheses", where="parsed", value=texts, do="use ( and ) only")
    width = max(map(len, texts))
    steps = [[1 if c == "(" else -1 for c in text] + [0] * (width - len(text)) for text in texts]
    return Strings(np.array(steps, np.int8), np.array([len(text) for text in texts]))


def equal_count(strings: Strings) -> NDArray[np.bool_]:
    """Rule Equal-Count, ``[rows]``."""
    return strings.depth[:, -1] == 0


def nested(strings: Strings) -> NDArray[np.bool_]:
    """Rule Nested, ``[rows]``."""
    return equal_count(strings) & (strings.depth.min(1) >= 0)


def agreed(strings: Strings) -> NDArray[np.bool_]:
    """Where both rules say the same, ``[rows]``: the only strings a training set may hold."""
    return nested(strings) == equal_count(strings)


def random_lengths(rows: int, spread: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Even lengths 2 + 2 Binomial(spread, 1/2), ``[rows]``; li2025 has spread 19."""
    return 2 + 2 * rng.binomial(spread, 0.5, rows)


def balanced_strings(lengths: NDArray[np.int64], width: int, rng: np.random.Generator) -> Strings:
    """Uniform among the nested strings of each given even length, by exact sequential choice.

    At depth r with k characters left a uniform completion closes next with probability
    r (k + r + 2) / (2 k (r + 1)), the share of Dyck paths that do.
    """
    steps = np.zeros((len(lengths), width), np.int8)
    r = np.zeros(len(lengths), np.int64)
    for place in range(width):
        k = np.maximum(lengths - place, 0)
        close = rng.random(len(lengths)) * (2 * k * (r + 1)) < r * (k + r + 2)
        steps[:, place] = np.where(k > 0, np.where(close, -1, 1), 0)
        r += steps[:, place]
    return Strings(steps, lengths)


def unequal_strings(lengths: NDArray[np.int64], width: int, rng: np.random.Generator) -> Strings:
    """Uniform among the strings of each given length with unequal counts (rejection)."""
    return _redrawn(lengths, width, lambda part: _uniform(part, width, rng), lambda s: ~equal_count(s))


def disagreeing_strings(lengths: NDArray[np.int64], width: int, rng: np.random.Generator) -> Strings:
    """Uniform among equal-count strings that are not nested: shuffled halves, nested ones rejected."""
    return _redrawn(lengths, width, lambda part: _shuffled(part, width, rng), lambda s: ~nested(s))


def _redrawn(
    lengths: NDArray[np.int64],
    width: int,
    draw: Callable[[NDArray[np.int64]], Strings],
    wanted: Callable[[Strings], NDArray[np.bool_]],
) -> Strings:
    steps = np.zeros((len(lengths), width), np.int8)
    left = np.arange(len(lengths))
    for _ in range(TRIES):
        if not len(left):
            return Strings(steps, lengths)
        fresh = draw(lengths[left])
        steps[left] = fresh.steps
        left = left[~wanted(fresh)]
    raise DataError("no string of this length is wanted", where="parentheses", value=int(lengths[left[0]]))


def _uniform(lengths: NDArray[np.int64], width: int, rng: np.random.Generator) -> Strings:
    signs = (2 * rng.integers(0, 2, (len(lengths), width)) - 1).astype(np.int8)
    return Strings(signs * (np.arange(width) < lengths[:, None]), lengths)


def _shuffled(lengths: NDArray[np.int64], width: int, rng: np.random.Generator) -> Strings:
    inside = np.arange(width) < lengths[:, None]
    order = np.argsort(np.where(inside, rng.random((len(lengths), width)), 2.0), 1).argsort(1)
    signs = np.where(order < lengths[:, None] // 2, 1, -1).astype(np.int8)
    return Strings(signs * inside, lengths)


@dataclass(frozen=True)
class Task:
    """The data of one experiment.

    Args:
        spread: Lengths are 2 + 2 Binomial(spread, 1/2); the longest string has 2 + 2 spread characters.
        pool: Training strings, half TRUE, half FALSE.
        test: Strings of each test set.
        seed: Seed of all of them.
    """

    spread: int
    pool: int
    test: int
    seed: int

    @property
    def width(self) -> int:
        """Characters of the longest string."""
        return 2 + 2 * self.spread

    def _rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng(stream_seed(self.seed, "parentheses", name))

    def mixed(self, name: str, rows: int) -> Strings:
        """Half uniform balanced strings (first), half uniform unequal ones; the stream ``name``."""
        rng, half = self._rng(name), rows // 2
        lengths = random_lengths(2 * half, self.spread, rng)
        true = balanced_strings(lengths[:half], self.width, rng)
        return joined([true, unequal_strings(lengths[half:], self.width, rng)])

    def training(self) -> Strings:
        """The training set, ``pool`` strings on which the rules agree."""
        return self.mixed("training", self.pool)

    def in_distribution(self) -> Strings:
        """Fresh strings from the training distribution."""
        return self.mixed("test", self.test)

    def out_of_distribution(self) -> Strings:
        """Equal counts, not nested: a network that says FALSE here has learned Nested."""
        rng = self._rng("disagreeing")
        return disagreeing_strings(random_lengths(self.test, self.spread, rng), self.width, rng)


def encoded(strings: Strings) -> dict[str, Tensor]:
    """A batch: tokens ``[rows, width + 2]`` (start, string, end, pads), place of the end ``[rows]``, label ``[rows]``.

    The label is 1 where the string has equal counts (TRUE in training), else 0.
    """
    rows, width = strings.steps.shape
    tokens = np.full((rows, width + 2), PAD, np.int64)
    tokens[:, 0] = START
    tokens[:, 1:-1] = np.select([strings.steps > 0, strings.steps < 0], [OPEN, CLOSE], PAD)
    end = strings.lengths + 1
    tokens[np.arange(rows), end] = END
    label = equal_count(strings).astype(np.int64)
    return {"tokens": from_numpy(tokens), "end": from_numpy(end), "label": from_numpy(label)}
