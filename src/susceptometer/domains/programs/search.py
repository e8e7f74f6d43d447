"""Can error correction lower the learning coefficient? The exact minimum of lambda_f over whole classes of machines.

Open question (murfet2025): is there a machine M' that computes the function of M with more room for correction (more
states or symbols) and lambda(M') < lambda(M)? Branch and bound writes tables square by square, drops those that answer
wrongly or whose lower bound is not below the best value so far, and so proves the minimum over classes far too large
to list.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from time import process_time

import numpy as np

from susceptometer.domains.programs.follow import OPEN, STATE
from susceptometer.domains.programs.ideal import ideal
from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.partial import Followed, Shape, completed, words_of
from susceptometer.testbed.newton import threshold

Word = tuple[int, ...]

QUESTIONS: dict[str, Callable[[Word], int]] = {
    "contains A": lambda word: int(1 in word),
    "parity of A": lambda word: word.count(1) % 2,
    "last is A": lambda word: int(word[-1] == 1),
    "first is A": lambda word: int(word[0] == 1),
    "equal ends": lambda word: int(word[0] == word[-1]),
}
"""Yes/no questions about words over A = 1 and B = 2."""


@dataclass(frozen=True)
class Class:
    """One class of the search.

    Args:
        question: Name in ``QUESTIONS``.
        letters: 1: words over A; 2: over A and B.
        longest: Words have length 1 to ``longest``.
        steps: Steps of every run.
        symbols: Tape symbols, blank included.
        states: States.
        noisy: Noisy squares.
        mapped: Whether states may share a label; else every state beyond two is a wrong output.
    """

    question: str
    letters: int
    longest: int
    steps: int
    symbols: int
    states: int
    noisy: tuple[str, ...]
    mapped: bool

    def shapes(self) -> list[Shape]:
        """One shape per readout, those equal up to renaming of states left out."""
        words = words_of(range(1, self.letters + 1), self.longest)
        answers = tuple(QUESTIONS[self.question](word) for word in words)
        base = Shape(self.symbols, self.states, (), words, answers, self.steps, self.noisy)
        return [replace(base, labels=labels) for labels in self._labels()]

    def _labels(self) -> list[tuple[int, ...]]:
        values = (0, 1) if self.mapped else (0, 1, 2)
        found = set()
        for labels in product(values, repeat=self.states):
            whole = {0, 1} <= set(labels)
            single = self.mapped or (labels.count(0) == labels.count(1) == 1)
            if whole and single:
                found.add((labels[0], *sorted(labels[1:])))
        return sorted(found)


@dataclass(frozen=True)
class Minimum:
    """Result of one class.

    Args:
        value: Smallest lambda_f, or None where nothing is below ``ceiling``.
        machine: One machine that attains it.
        nodes: Partly written tables looked at.
        solved: Complete machines whose exact coefficient was calculated.
        covered: Machines of the class (all labels), proved not to be lower when ``complete``.
        complete: Whether the search went through the class within its budget.
        ceiling: Only values below it were looked for; None: no limit.
    """

    value: Fraction | None
    machine: Machine | None
    nodes: int
    solved: int
    covered: int
    complete: bool
    ceiling: Fraction | None


class BranchAndBound:
    """The search through one class.

    Args:
        family: The class.
        degree: Error types up to this degree bound a table; ``family.steps`` is exact for state noise.
        seconds: CPU seconds; the class is left incomplete beyond them.
        ceiling: Known value that has to be undercut.
    """

    def __init__(self, family: Class, degree: int, *, seconds: float, ceiling: Fraction | None = None) -> None:
        self._family, self._degree, self._ceiling = family, degree, ceiling
        self._best = Fraction(0)
        self._machine: Machine | None = None
        self._nodes = self._solved = 0
        self._seconds, self._end = seconds, 0.0

    def minimum(self) -> Minimum:
        """Go through the class, with a ceiling that rises until something lies below it."""
        final, ceiling = self._ceiling, Fraction(1)
        shape = self._family.shapes()[0]
        Followed(shape, shape.blank_table, 1)  # compiles, which is not counted
        self._end = process_time() + self._seconds
        while True:
            ceiling = ceiling + 1 if final is None else min(ceiling + 1, final)
            self._best = ceiling
            complete = all(self._branch(shape, shape.blank_table, 1) for shape in self._family.shapes())
            if self._machine is not None or not complete or ceiling == final or ceiling > shape.dim:
                break
        value = None if self._machine is None else self._best
        covered = sum(shape.size for shape in self._family.shapes())
        return Minimum(value, self._machine, self._nodes, self._solved, covered, complete, self._ceiling)

    def _branch(self, shape: Shape, table: np.ndarray, weight: int) -> bool:
        """Look at one partly written table; False where time ran out below it."""
        if process_time() > self._end:
            return False
        self._nodes += 1
        here = Followed(shape, table, weight)
        if not here.answers or self._hopeless(here):
            return True
        if here.missing is None:
            if weight < self._degree:
                return self._branch(shape, table, weight + 1)
            return self._leaf(shape, table)
        done = True
        for value in _options(shape, table, here.missing):
            written = table.copy()
            written[here.missing] = value
            done &= self._branch(shape, written, weight)
        return done

    def _hopeless(self, here: Followed) -> bool:
        if here.linear >= self._best or here.quick_bound() >= self._best:
            return True
        return here.missing is None and here.bound() >= self._best

    def _leaf(self, shape: Shape, table: np.ndarray) -> bool:
        """A table that no run of the followed weight leaves: its coefficient, and perhaps a new best one."""
        self._solved += 1
        machine, question = completed(shape, table)
        types = ideal(machine, question, self._degree)
        value = threshold(types) if types else Fraction(0)
        if value < self._best:
            self._best, self._machine = value, machine
        return True


def _options(shape: Shape, table: np.ndarray, square: tuple[int, int]) -> list[int]:
    """Values of a square; states not used so far are interchangeable, so only the first of each label is tried."""
    place, kind = square
    if kind != STATE:
        return list(range(shape.sizes[kind]))
    written = np.flatnonzero((table != OPEN).any(1))
    named = {0, place % shape.states, *(written % shape.states).tolist(), *table[:, STATE].tolist()} - {OPEN}
    fresh: dict[int, int] = {}
    for state in range(shape.states):
        if state not in named:
            fresh.setdefault(shape.labels[state], state)
    return sorted(named | set(fresh.values()))
