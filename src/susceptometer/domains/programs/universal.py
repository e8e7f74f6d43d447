"""A staged pseudo-universal machine, and the smooth relaxation of any multi-tape machine (clift2018, clift2021).

Four tapes: the description ``X s1 q1 s1' q1' d1 ... sN qN sN' qN' dN X``; staging ``X X X``; the simulated state; the
working tape. It compares the tuples one after the other with the scanned symbol and the state, copies the last one that
matches into staging, then updates. One simulated step takes 10 N + 5 of its steps. Run on laws instead of letters, with
every square and the control state independent, it equals the staged formula of ``naive.py`` (tests).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from susceptometer.domains.programs.laws import numeric
from susceptometer.domains.programs.machine import KINDS, MOVES, Machine

Letter = tuple[str, str]
"""A letter with its sort, so that a symbol X, a state S and a move S stay apart."""

X: Letter = ("mark", "X")

Action = tuple[tuple[Letter | None, ...], tuple[str, ...], str]
"""Letters to write (None: keep), moves of the heads, next control state."""

CONTROL = (
    "compSymbol", "compState", "notCompState", "copySymbol", "copyState", "copyDir",
    "notCopySymbol", "notCopyState", "notCopyDir", "updateSymbol", "updateState", "updateDir", "resetDescr",
)  # fmt: skip

FORWARD = {
    "copySymbol": ("copyState", "RRSS"), "copyState": ("copyDir", "RRSS"), "copyDir": ("compSymbol", "RLSS"),
    "notCopySymbol": ("notCopyState", "RRSS"), "notCopyState": ("notCopyDir", "RRSS"),
    "notCopyDir": ("compSymbol", "RLSS"),
}  # fmt: skip
"""Copying and not copying: next control state and moves of (description, staging, state, work)."""

KEEP = (None, None, None, None)


def control(state: str, read: tuple[Letter, ...]) -> Action:
    """One line of the table: what control state ``state`` does on the letters read on the four tapes."""
    a, b, c, d = read
    if state == "compSymbol":
        if a == X:
            return KEEP, tuple("LLSS"), "updateSymbol"
        return KEEP, tuple("RLSS"), "compState" if a == d else "notCompState"
    if state in ("compState", "notCompState"):
        same = state == "compState" and a == c
        return KEEP, tuple("RSSS"), "copySymbol" if same else "notCopySymbol"
    if state in FORWARD:
        after, moves = FORWARD[state]
        return (None, None if state.startswith("not") else a, None, None), tuple(moves), after
    if state == "resetDescr":
        return KEEP, tuple("RSSS" if a == X else "LSSS"), "compSymbol" if a == X else "resetDescr"
    return _update(state, b)


def _update(state: str, b: Letter) -> Action:
    """Take over what was staged; X says that no tuple matched."""
    fresh = None if b == X else b
    if state == "updateSymbol":
        return (None, X, None, fresh), tuple("SRSS"), "updateState"
    if state == "updateState":
        return (None, X, fresh, None), tuple("SRSS"), "updateDir"
    move = b[1] if b != X and b[0] == "dir" else "S"
    return (None, X, None, None), ("S", "L", "S", move), "resetDescr"


@dataclass
class Tape:
    """Independent laws of squares ``[squares, letters]`` with the head at a fixed row."""

    letters: tuple[Letter, ...]
    squares: np.ndarray
    head: int

    @property
    def scanned(self) -> np.ndarray:
        """Law of the letter under the head ``[letters]``."""
        return self.squares[self.head]


@dataclass
class SmoothMachine:
    """Any deterministic multi-tape machine, run on independent laws.

    At each step the joint law of (control state, letters read) is taken as the product of marginals; every write,
    move and the next control state take the marginal of its image.

    Args:
        states: Control states.
        tapes: The tapes; moved in place.
        table: ``(state, letters read) -> Action``.
        law: Law of the control state ``[states]``.
    """

    states: tuple[str, ...]
    tapes: list[Tape]
    table: Callable[[str, tuple[Letter, ...]], Action]
    law: np.ndarray

    @cached_property
    def _compiled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For every (state, letters): next state, write and move indices (-1: keep), tape by tape."""
        where = {state: i for i, state in enumerate(self.states)}
        spots = [{letter: i for i, letter in enumerate(t.letters)} for t in self.tapes]
        rows = [self.table(state, read) for state in self.states for read in product(*[t.letters for t in self.tapes])]
        after = np.asarray([where[row[2]] for row in rows])
        writes = [[-1 if w is None else s.get(w, -1) for w, s in zip(r[0], spots, strict=True)] for r in rows]
        moves = [[MOVES.index(m) for m in row[1]] for row in rows]
        return after, np.asarray(writes), np.asarray(moves)

    def step(self) -> None:
        """One step of the relaxed machine; every law is renormalised."""
        joint = self.law
        for tape in self.tapes:
            joint = np.multiply.outer(joint, tape.scanned)
        shape, weight = joint.shape, joint.ravel()
        after, writes, moves = self._compiled
        for k, tape in enumerate(self.tapes):
            letters = np.indices(shape)[k + 1].ravel()
            written = np.where(writes[:, k] < 0, letters, writes[:, k])
            tape.squares[tape.head] = np.bincount(written, weight, len(tape.letters))
            move = np.bincount(moves[:, k], weight, 3)
            left, right = np.roll(tape.squares, 1, 0), np.roll(tape.squares, -1, 0)
            tape.squares = move[0] * tape.squares + move[1] * left + move[2] * right
            tape.squares /= tape.squares.sum(1, keepdims=True)
        law = np.bincount(after, weight, len(self.states))
        self.law = law / law.sum()


def pseudo_universal(machine: Machine, eps: np.ndarray, word: str, cycles: int) -> SmoothMachine:
    """The pseudo-universal machine at the noisy description ``eps`` [d] of ``machine``, ready to start.

    Args:
        machine: The simulated machine; the order of its tuples is the order on the tape.
        eps: Error probabilities.
        word: Input.
        cycles: How many simulated steps the working tape must have room for.
    """
    sorted_letters = {kind: [(kind, v) for v in machine.alphabet(kind)] for kind in KINDS}
    every = (X, *(letter for kind in KINDS for letter in sorted_letters[kind]))
    described = _point_masses(_description(machine, eps), every)
    staging = _point_masses([{X: 1.0}] * 3, every)
    states, symbols = tuple(sorted_letters["st"]), tuple(sorted_letters["sym"])
    state = _point_masses([{("st", machine.start): 1.0}], states)
    blank = {("sym", machine.symbols[0]): 1.0}
    room = [blank] * (cycles + 1)
    work = _point_masses([*room, *({("sym", s): 1.0} for s in word), *room], symbols)
    tapes = [Tape(every, described, 1), Tape(every, staging, 1), Tape(states, state, 0)]
    tapes.append(Tape(symbols, work, len(room)))
    return SmoothMachine(CONTROL, tapes, control, np.eye(len(CONTROL))[0])


def _description(machine: Machine, eps: np.ndarray) -> list[dict[Letter, float]]:
    description = numeric(machine, eps)
    squares: list[dict[Letter, float]] = [{X: 1.0}]
    for rule in machine.rules:
        squares += [{("sym", rule.symbol): 1.0}, {("st", rule.state): 1.0}]
        for kind in KINDS:
            law = description.law(rule.symbol, rule.state, kind)
            squares.append({(kind, value): float(weight) for value, weight in law})
    return [*squares, {X: 1.0}]


def _point_masses(squares: list[dict[Letter, float]], letters: tuple[Letter, ...]) -> np.ndarray:
    table = np.zeros((len(squares), len(letters)))
    for row, law in enumerate(squares):
        for letter, weight in law.items():
            table[row, letters.index(letter)] = weight
    return table


def steps_per_cycle(machine: Machine) -> int:
    """Steps of the pseudo-universal machine per simulated step: 10 N + 5 for N tuples."""
    return 10 * len(machine.rules) + 5
