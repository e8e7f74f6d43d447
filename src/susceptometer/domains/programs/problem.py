"""What a machine is asked: inputs, correct outputs and the number of steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

from susceptometer.domains.programs.machine import Machine, run
from susceptometer.errors import DataError, SubjectError


@dataclass(frozen=True)
class Problem:
    """Uniform distribution over listed words, their correct outputs, and the run length.

    Args:
        words: Inputs, written from the head rightwards; one character is one symbol.
        answers: Correct output (label of the final state) of every word.
        steps: Machine steps of every word.

    Raises:
        DataError: Lengths differ, there is no word, or a number of steps is below 1.
    """

    words: tuple[str, ...]
    answers: tuple[str, ...]
    steps: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = {len(self.words), len(self.answers), len(self.steps)}
        if len(sizes) != 1 or not self.words or min(self.steps) < 1:
            raise DataError(
                "no problem",
                where="Problem",
                value=(self.words, self.answers, self.steps),
                why="every word needs one answer and at least one step",
                do="give lists of one length",
            )

    def check(self, machine: Machine) -> None:
        """Verify that the noiseless machine answers every word.

        Raises:
            SubjectError: It does not; the first failing word is named.
        """
        for word, answer, steps in zip(self.words, self.answers, self.steps, strict=True):
            output = machine.label[run(machine, word, steps)[0]]
            if output != answer:
                raise SubjectError(
                    "the machine does not compute the function",
                    where=f"machine {machine.name!r}",
                    value=f"input {word!r} gives {output!r} after {steps} steps, expected {answer!r}",
                    why="the loss at eps = 0 must vanish",
                    do="mend the table, the steps or the answers",
                )

    def solved_by(self, machine: Machine) -> bool:
        """Whether the noiseless machine answers every word."""
        rows = zip(self.words, self.answers, self.steps, strict=True)
        return all(machine.label[run(machine, w, t)[0]] == a for w, a, t in rows)

    def wrong_states(self, machine: Machine, row: int) -> frozenset[str]:
        """Final states whose label is not the answer of word ``row``."""
        return frozenset(q for q in machine.states if machine.label[q] != self.answers[row])


def problem(words: Iterable[str], answer: Callable[[str], str], steps: int | None = None) -> Problem:
    """A problem from a function of the word; without ``steps`` a run takes as many steps as the word is long."""
    listed = tuple(words)
    times = tuple(len(word) if steps is None else steps for word in listed)
    return Problem(listed, tuple(answer(word) for word in listed), times)


def strings(alphabet: str, longest: int) -> tuple[str, ...]:
    """All words over ``alphabet`` of length 1 to ``longest``, short ones first."""
    sizes = range(1, longest + 1)
    return tuple("".join(letters) for size in sizes for letters in product(alphabet, repeat=size))
