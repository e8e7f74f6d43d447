"""Turing machines as tables of tuples, their noiseless runs and the errors of their description (murfet2025)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import NamedTuple

from susceptometer.errors import SubjectError

KINDS = ("sym", "st", "dir")
"""What a tuple says: symbol to write, next state, direction of the head."""

MOVES = ("S", "L", "R")
"""Stay; head to the left; head to the right."""

SHIFT = {"S": 0, "L": -1, "R": 1}


class Rule(NamedTuple):
    """One tuple of the description: in ``state`` reading ``symbol`` do (write, next state, move)."""

    symbol: str
    state: str
    write: str
    after: str
    move: str

    def value(self, kind: str) -> str:
        """The correct value of one of its three squares."""
        return {"sym": self.write, "st": self.after, "dir": self.move}[kind]


class Error(NamedTuple):
    """One coordinate of the parameter space: the square ``kind`` of tuple (symbol, state) read as ``value``."""

    symbol: str
    state: str
    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.symbol},{self.state}:{self.kind}>{self.value}"


@dataclass(frozen=True)
class Machine:
    """A total Turing machine; also the point eps = 0 of its space W of noisy descriptions.

    Args:
        name: Short name.
        symbols: Tape alphabet; the first is the blank.
        states: Internal states.
        start: State at the beginning.
        rules: One tuple per (symbol, state). The order matters for the staged semantics only.
        labels: Output of every final state, as (state, label) pairs; empty: the state itself.
        kinds: Squares that carry noise; all three by default.
        frozen: Errors that are held at zero beyond that.

    Raises:
        SubjectError: The table is not total, or names an unknown symbol, state or move.
    """

    name: str
    symbols: tuple[str, ...]
    states: tuple[str, ...]
    start: str
    rules: tuple[Rule, ...]
    labels: tuple[tuple[str, str], ...] = ()
    kinds: tuple[str, ...] = KINDS
    frozen: frozenset[Error] = frozenset()

    def __post_init__(self) -> None:
        expected = {(s, q) for s in self.symbols for q in self.states}
        found = [(rule.symbol, rule.state) for rule in self.rules]
        if set(found) != expected or len(found) != len(expected):
            missing = sorted(expected.symmetric_difference(found))
            self._refuse("the table is not one tuple per (symbol, state)", missing or found)
        for rule in self.rules:
            if any(rule.value(kind) not in self.alphabet(kind) for kind in KINDS):
                self._refuse("a tuple names an unknown symbol, state or move", tuple(rule))
        if self.start not in self.states or set(dict(self.labels)) - set(self.states):
            self._refuse("start or labels name an unknown state", (self.start, self.labels))

    def _refuse(self, what: str, value: object) -> None:
        raise SubjectError(
            what,
            where=f"machine {self.name!r}",
            value=value,
            why="every run must be defined, also the runs with errors",
            do="give each (symbol, state) exactly one tuple of known values",
        )

    def alphabet(self, kind: str) -> tuple[str, ...]:
        """All values that a square of this kind may hold."""
        return {"sym": self.symbols, "st": self.states, "dir": MOVES}[kind]

    @cached_property
    def table(self) -> dict[tuple[str, str], Rule]:
        """(symbol, state) to its tuple."""
        return {(rule.symbol, rule.state): rule for rule in self.rules}

    @cached_property
    def label(self) -> dict[str, str]:
        """Output of every final state."""
        return dict(self.labels) or {state: state for state in self.states}

    @cached_property
    def errors(self) -> tuple[Error, ...]:
        """Coordinates of W in order: tuples as listed, then sym, st, dir, then values."""
        return tuple(self._errors())

    def _errors(self) -> Iterator[Error]:
        for rule in self.rules:
            for kind in self.kinds:
                for value in self.alphabet(kind):
                    error = Error(rule.symbol, rule.state, kind, value)
                    if value != rule.value(kind) and error not in self.frozen:
                        yield error

    @cached_property
    def index(self) -> dict[Error, int]:
        """Error to its coordinate."""
        return {error: number for number, error in enumerate(self.errors)}

    @property
    def dim(self) -> int:
        """d = dim W; |S||Q|(|S|+|Q|) where every square is noisy."""
        return len(self.errors)

    @cached_property
    def simplices(self) -> dict[str, list[int]]:
        """``symbol,state:kind`` to the coordinates of that square: the natural components."""
        found: dict[str, list[int]] = {}
        for number, error in enumerate(self.errors):
            found.setdefault(f"{error.symbol},{error.state}:{error.kind}", []).append(number)
        return found

    def reordered(self, order: tuple[int, ...]) -> "Machine":
        """The same machine with its tuples listed in another order."""
        return replace(self, rules=tuple(self.rules[i] for i in order))

    def to_json(self) -> str:
        """Text form; inverse of ``from_json``."""
        plain = asdict(self)
        plain["frozen"] = sorted(list(error) for error in self.frozen)
        return json.dumps(plain)

    @staticmethod
    def from_json(text: str) -> "Machine":
        """The machine written by ``to_json``."""
        plain = json.loads(text)
        return Machine(
            name=plain["name"],
            symbols=tuple(plain["symbols"]),
            states=tuple(plain["states"]),
            start=plain["start"],
            rules=tuple(Rule(*rule) for rule in plain["rules"]),
            labels=tuple((state, label) for state, label in plain["labels"]),
            kinds=tuple(plain["kinds"]),
            frozen=frozenset(Error(*error) for error in plain["frozen"]),
        )


class Step(NamedTuple):
    """One step of a run: configuration before it, and the tuple that was read."""

    head: int
    state: str
    tape: Mapping[int, str]
    rule: Rule


def run(
    machine: Machine, word: str, steps: int, errors: Mapping[int, Mapping[str, str]] | None = None
) -> tuple[str, list[Step]]:
    """Final state and history of a run; ``errors`` maps a step to the wrong values {kind: value} read there.

    The word is written from the head rightwards; every other square is blank.
    """
    tape = dict(enumerate(word))
    head, state, history = 0, machine.start, []
    for time in range(steps):
        rule = machine.table[tape.get(head, machine.symbols[0]), state]
        history.append(Step(head, state, dict(tape), rule))
        wrong = (errors or {}).get(time, {})
        tape[head] = wrong.get("sym", rule.write)
        state = wrong.get("st", rule.after)
        head += SHIFT[wrong.get("dir", rule.move)]
    return state, history


def rules_from(text: str) -> tuple[Rule, ...]:
    """Tuples from lines ``symbol state -> write state move``; order is kept.

    Raises:
        SubjectError: A line has another form.
    """
    rules = []
    for line in filter(None, map(str.strip, text.splitlines())):
        words = line.replace("->", " ").split()
        if len(words) != 5:
            raise SubjectError(
                "a line of the table is no tuple",
                where="rules_from",
                value=line,
                do="write: symbol state -> write state move",
            )
        rules.append(Rule(*words))
    return tuple(rules)
