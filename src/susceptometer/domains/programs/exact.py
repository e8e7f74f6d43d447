"""Exact semantics: a noisy machine is a Markov chain on configurations, and P(output) a polynomial in eps."""

from collections.abc import Iterable, Iterator

from susceptometer.domains.programs.laws import Description, Element, plus, times
from susceptometer.domains.programs.machine import SHIFT

Window = tuple[str, ...]
"""The squares that the head can still reach, itself in the middle."""

UNLIMITED = 1 << 30


class ExactRun:
    """Weight of ending in given states, by recursion from the last step backwards.

    At each step the tuple of (symbol, state) is read, its three squares independently. Configurations are kept only as
    far as the head can still see, and their values shared between inputs.

    Args:
        description: Laws of all squares.
        targets: Final states whose total weight is wanted.
        errors: Only runs with at most this many misread squares count; for ideals cut at that degree, whose
            correct values weigh 1, this changes nothing but the time.
    """

    def __init__(self, description: Description, targets: Iterable[str], errors: int = UNLIMITED) -> None:
        self._description, self._targets = description, frozenset(targets)
        self._errors = errors
        self._kept: dict[tuple[int, str, Window, int], Element] = {}

    def weight(self, word: str, steps: int) -> Element:
        """Weight of the targets after ``steps`` from the start state on ``word``; None where impossible."""
        machine = self._description.machine
        blank = machine.symbols[0]
        right = [*word, *[blank] * steps][:steps]
        return self._value(steps, machine.start, (*[blank] * (steps - 1), *right), self._errors)

    def _value(self, left: int, state: str, window: Window, errors: int) -> Element:
        key = left, state, window, errors
        if key not in self._kept:
            self._kept[key] = self._last(*key[1:]) if left == 1 else self._step(*key)
        return self._kept[key]

    def _last(self, state: str, window: Window, errors: int) -> Element:
        law = self._law(window[0], state, "st", errors)
        return plus(*[weight for value, weight, _ in law if value in self._targets])

    def _step(self, left: int, state: str, window: Window, errors: int) -> Element:
        middle = left - 1
        read = window[middle]
        total = None
        for symbol, p_symbol, rest in self._law(read, state, "sym", errors):
            written = (*window[:middle], symbol, *window[middle + 1 :])
            for move, p_move, spare in self._law(read, state, "dir", rest):
                low = 1 + SHIFT[move]
                seen = written[low : low + 2 * left - 3]
                inner = [
                    times(p_state, self._value(left - 1, after, seen, last))
                    for after, p_state, last in self._law(read, state, "st", spare)
                ]
                total = plus(total, times(p_symbol, p_move, plus(*inner)))
        return total

    def _law(self, symbol: str, state: str, kind: str, errors: int) -> Iterator[tuple[str, Element, int]]:
        """Value, weight and errors still allowed after it; the correct value comes first in every law."""
        for number, (value, weight) in enumerate(self._description.law(symbol, state, kind)):
            spent = int(number > 0 and errors < UNLIMITED)
            if spent <= errors:
                yield value, weight, errors - spent
