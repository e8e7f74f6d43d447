"""Partly written machine tables: what their errors already prove about every machine that completes them.

Runs with few errors are followed as far as the table is written, square by square. Those that end wrong are uncorrected
syndromes of every completion, so the ideal they generate gives a lower bound of lambda_f; the first unwritten square
that a run needs is the one to write next. A symbol is needed only when it is read again, a move or a symbol never at
the last step. Compiled, since millions of such tables are looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product

import numpy as np

from susceptometer.domains.programs.follow import BITS, MOST_ERRORS, OPEN, follow
from susceptometer.domains.programs.machine import KINDS, MOVES, Machine, Rule
from susceptometer.domains.programs.problem import Problem
from susceptometer.testbed.monomial import Monomial, minimal
from susceptometer.testbed.newton import threshold

BUFFER = 1 << 16
"""Types found per table, repetitions included, at most."""


@dataclass(frozen=True)
class Shape:
    """A class of machines: sizes, noise, readout and question.

    Args:
        symbols: Number of tape symbols; 0 is the blank.
        states: Number of states; 0 is the start.
        labels: Output of every state.
        words: Inputs as symbol numbers.
        answers: Correct output of every word.
        steps: Number of steps, the same for all words.
        noisy: Kinds of squares that carry noise, among "sym", "st", "dir".
    """

    symbols: int
    states: int
    labels: tuple[int, ...]
    words: tuple[tuple[int, ...], ...]
    answers: tuple[int, ...]
    steps: int
    noisy: tuple[str, ...]

    @property
    def tuples(self) -> int:
        """Number of tuples of a table."""
        return self.symbols * self.states

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many values a square of each kind can hold."""
        return self.symbols, self.states, len(MOVES)

    @property
    def dim(self) -> int:
        """Errors of a machine of this class."""
        noisy = [size - 1 for kind, size in zip(KINDS, self.sizes, strict=True) if kind in self.noisy]
        return self.tuples * sum(noisy)

    @property
    def size(self) -> int:
        """Machines in the class, those that answer wrongly included."""
        return (self.symbols * self.states * len(MOVES)) ** self.tuples

    @property
    def blank_table(self) -> np.ndarray:
        """A table with every square open, ``[tuples, 3]``."""
        return np.full((self.tuples, 3), OPEN, dtype=np.int64)

    @cached_property
    def tapes(self) -> np.ndarray:
        """Input tapes ``[words, 2 steps + 1]``, the head on the middle square."""
        tapes = np.zeros((len(self.words), 2 * self.steps + 1), dtype=np.int64)
        for row, word in enumerate(self.words):
            shown = word[: self.steps + 1]
            tapes[row, self.steps : self.steps + len(shown)] = shown
        return tapes

    @cached_property
    def wrong(self) -> np.ndarray:
        """Whether a final state is a wrong output ``[words, states]``."""
        return np.asarray([[label != answer for label in self.labels] for answer in self.answers])

    @cached_property
    def flags(self) -> np.ndarray:
        """Which kinds are noisy ``[3]``."""
        return np.asarray([kind in self.noisy for kind in KINDS])


class Followed:
    """The runs of a partly written table with up to ``weight`` errors.

    Args:
        shape: The class.
        table: What is written ``[tuples, 3]``.
        weight: Largest number of errors followed, at most ``MOST_ERRORS``.

    Attributes:
        answers: Whether every completed noiseless run answers correctly.
        linear: Number of errors that are uncorrected by themselves.
        missing: First unwritten square (tuple, kind) needed by a run with the fewest errors, or None.
    """

    def __init__(self, shape: Shape, table: np.ndarray, weight: int) -> None:
        packed = np.empty(BUFFER, dtype=np.int64)
        setting = (shape.sizes, shape.flags, shape.steps)
        found = follow(table, shape.tapes, shape.wrong, setting, weight, packed)
        self.answers, count, self.linear, missing = found
        self.missing = None if missing < 0 else divmod(int(missing), 3)
        self._packed = packed[:count]

    @cached_property
    def types(self) -> frozenset[Monomial]:
        """Minimal uncorrected types found."""
        return minimal(unpacked(int(code)) for code in set(self._packed.tolist()))

    def bound(self) -> Fraction:
        """Lower bound of lambda_f of every completion: the value of the types found so far."""
        return threshold(self.types) if self.types else Fraction(0)

    def quick_bound(self) -> Fraction:
        """A weaker bound without a linear program: disjoint types, packed greedily."""
        if len(self._packed) == self.linear:
            return Fraction(self.linear)
        taken: set[int] = set()
        total = Fraction(0)
        for monomial in sorted(self.types, key=lambda m: (len(m), m)):
            if taken.isdisjoint(monomial):
                taken.update(monomial)
                total += Fraction(1, max(monomial.count(v) for v in monomial))
        return total


def unpacked(code: int) -> Monomial:
    """The type of a packed integer."""
    mask = (1 << BITS) - 1
    parts = [(code >> (BITS * k)) & mask for k in range(MOST_ERRORS)]
    return tuple(sorted(part - 1 for part in parts if part))


def completed(shape: Shape, table: np.ndarray, alphabet: str = "_ABCDEFG") -> tuple[Machine, Problem]:
    """The machine of a table (open squares keep symbol, state and place) and its problem, in words."""
    letters = tuple(alphabet[: shape.symbols])
    states = tuple(str(q) for q in range(shape.states))
    rules = []
    for s, q in product(range(shape.symbols), range(shape.states)):
        said = table[s * shape.states + q]
        write, after, move = np.where(said == OPEN, (s, q, 0), said)
        rules.append(Rule(letters[s], states[q], letters[write], states[after], MOVES[move]))
    labels = tuple((q, str(label)) for q, label in zip(states, shape.labels, strict=True))
    name = " ".join(f"{r.write}{r.after}{r.move}" for r in rules)
    machine = Machine(name, letters, states, states[0], tuple(rules), labels, shape.noisy)
    words = tuple("".join(letters[s] for s in word) for word in shape.words)
    answers = tuple(str(answer) for answer in shape.answers)
    return machine, Problem(words, answers, (shape.steps,) * len(words))


def words_of(letters: Sequence[int], longest: int) -> tuple[tuple[int, ...], ...]:
    """All words over some symbol numbers of length 1 to ``longest``."""
    return tuple(word for size in range(1, longest + 1) for word in product(letters, repeat=size))
