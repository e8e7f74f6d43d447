"""Naive semantics: state and squares are kept independent, as smooth relaxations of a machine do (clift2018).

*unstaged* applies every tuple that matches in the same step; *staged* lets a later matching tuple of the list overwrite
an earlier one, as the pseudo-universal machine of ``universal.py`` does when it compares them one by one. Both are
functions of eps that differ from the exact chain from the first order on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from susceptometer.domains.programs.laws import Description, Element, plus, times
from susceptometer.domains.programs.machine import MOVES, SHIFT, Machine

Marginal = dict[str, Element]
"""Value to weight; impossible values are absent."""


@dataclass(frozen=True)
class NaiveState:
    """Law of the state, and of every square ``u`` relative to the head (absent squares are blank)."""

    state: Marginal
    tape: dict[int, Marginal]


def naive_run(description: Description, words: Sequence[str], steps: int, *, staged: bool) -> Marginal:
    """Law of the final state: state to element, ``[inputs, *chains]`` where several words are given.

    All words share ``steps``. Ideals and polynomials take one word at a time.
    """
    machine = description.machine
    here = NaiveState({machine.start: description.one}, _tape(description, words, steps))
    for left in range(steps, 0, -1):
        here = naive_step(description, here, left, staged=staged)
    return here.state


def _tape(description: Description, words: Sequence[str], steps: int) -> dict[int, Marginal]:
    blank, one = description.machine.symbols[0], description.one
    tape = {}
    for u in range(steps):
        letters = [word[u] if u < len(word) else blank for word in words]
        tape[u] = {s: _share(letters, s, one) for s in sorted(set(letters))}
    return tape


def _share(letters: Sequence[str], symbol: str, one: Element) -> Element:
    if all(letter == symbol for letter in letters):
        return one
    flags = np.asarray([letter == symbol for letter in letters], dtype=np.float64)
    flags = flags.reshape(-1, *[1] * one.ndim)
    return one.new_tensor(flags) if hasattr(one, "new_tensor") else flags * one


def naive_step(description: Description, here: NaiveState, left: int, *, staged: bool) -> NaiveState:
    r"""One simulated step with ``left`` steps to go, this one included; squares out of reach are dropped.

    unstaged  mu_i = lam_i;                          staged  mu_i = lam_i prod_{j>i} (1 - lam_j)
    Y_0' = mu_X Y_0 + sum_i mu_i w_i^sym             and so for the state and the move (stay where none matched)
    Y_u'' = m_S Y_u' + m_L Y_{u-1}' + m_R Y_{u+1}'   lam_i = Y_0[s_i] st[q_i], tuple i in listed order
    """
    machine, blank = description.machine, description.machine.symbols[0]
    scanned = here.tape.get(0, {blank: description.one})
    match, idle = _matches(machine, scanned, here.state, staged=staged)
    mixed = {kind: _mix(description, match, kind) for kind in ("sym", "st", "dir")}
    state = _merge(mixed["st"], here.state, idle)
    if left == 1:
        return NaiveState(state, {})
    tape = dict(here.tape)
    tape[0] = _merge(mixed["sym"], scanned, idle)
    move = _merge(mixed["dir"], {"S": description.one}, idle)
    reach = range(-(left - 2), left - 1)
    return NaiveState(state, {u: _shifted(tape, move, u, {blank: description.one}) for u in reach})


def _matches(machine: Machine, scanned: Marginal, state: Marginal, *, staged: bool) -> tuple[list[Element], Element]:
    """mu_i of every tuple, and mu_X; products and sums of positive terms only."""
    hits = [times(scanned.get(rule.symbol), state.get(rule.state)) for rule in machine.rules]
    if not staged:
        return hits, None
    rest: Element = None
    first = True
    for i in range(len(hits) - 1, -1, -1):
        rule, hit = machine.rules[i], hits[i]
        if not first:
            hits[i] = times(hit, rest)
        miss = _miss(scanned, state, rule.symbol, rule.state)
        rest, first = (miss if first else times(rest, miss)), False
    return hits, rest


def _miss(scanned: Marginal, state: Marginal, symbol: str, name: str) -> Element:
    """1 - lam = sum_{a != s} Y_0[a] + Y_0[s] sum_{b != q} st[b]."""
    others = [weight for a, weight in scanned.items() if a != symbol]
    elsewhere = plus(*[weight for b, weight in state.items() if b != name])
    return plus(*others, times(scanned.get(symbol), elsewhere))


def _mix(description: Description, match: list[Element], kind: str) -> Marginal:
    """sum_i mu_i w_i of one kind of square."""
    mixed: dict[str, list[Element]] = {}
    for rule, mu in zip(description.machine.rules, match, strict=True):
        if mu is not None:
            for value, weight in description.law(rule.symbol, rule.state, kind):
                mixed.setdefault(value, []).append(times(mu, weight))
    return {value: plus(*terms) for value, terms in mixed.items()}


def _merge(mixed: Marginal, old: Marginal, idle: Element) -> Marginal:
    """The mixture plus mu_X times what was there."""
    if idle is None:
        return mixed
    values = dict.fromkeys([*mixed, *old])
    return {v: plus(mixed.get(v), times(idle, old.get(v))) for v in values}


def _shifted(tape: dict[int, Marginal], move: Marginal, u: int, blank: Marginal) -> Marginal:
    """Law of the square that is ``u`` from the head after the move."""
    total: dict[str, list[Element]] = {}
    for name in MOVES:
        if move.get(name) is not None:
            for symbol, weight in tape.get(u + SHIFT[name], blank).items():
                total.setdefault(symbol, []).append(times(move[name], weight))
    return {symbol: plus(*terms) for symbol, terms in total.items()}
