"""Error syndromes of a computation: which sets of misread squares end in a wrong output (murfet2025).

A read is one use of a description square at one step; a syndrome gives some reads a wrong value each. Its type is the
multiset of error variables it uses, a monomial. Everything here runs the machine itself, with errors put in by
hand, and shares no code with the probability and ideal calculations that it is tested against.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from susceptometer.domains.programs.machine import KINDS, SHIFT, Error, Machine, run
from susceptometer.domains.programs.problem import Problem
from susceptometer.testbed.monomial import Monomial, minimal

Label = tuple[int, int]
"""(step, error variable): at that step, the tuple named by the variable is misread so."""


@dataclass(frozen=True)
class Firing:
    """One uncorrected single error: where it happens and how the run ends."""

    word: str
    time: int
    error: Error
    output: str


def single_errors(machine: Machine, problem: Problem) -> list[Firing]:
    """All uncorrected syndromes of weight 1, over all inputs."""
    return [
        Firing(word, time, error, machine.label[end])
        for word, answer, steps in zip(problem.words, problem.answers, problem.steps, strict=True)
        for time, step in enumerate(run(machine, word, steps)[1])
        for error in machine.errors
        if (error.symbol, error.state) == (step.rule.symbol, step.rule.state)
        for end in [run(machine, word, steps, {time: {error.kind: error.value}})[0]]
        if machine.label[end] != answer
    ]


def counts(machine: Machine, problem: Problem) -> np.ndarray:
    """n_x[v] ``[inputs, d]``: uncorrected weight-1 syndromes of each type, the gradient of f_x at eps = 0."""
    table = np.zeros((len(problem.words), machine.dim))
    row = {word: number for number, word in enumerate(problem.words)}
    for firing in single_errors(machine, problem):
        table[row[firing.word], machine.index[firing.error]] += 1
    return table


def hessian(table: np.ndarray) -> np.ndarray:
    """Hess H = 2 E_x[n_x n_x'] at eps = 0 ``[d, d]``: the Gram matrix of single-error counts ``[inputs, d]``."""
    return 2 * table.T @ table / len(table)


def coefficient(machine: Machine, problem: Problem, row: int, monomial: Monomial) -> int:
    """Taylor coefficient of eps^monomial in f_x, exact semantics, as a signed count of syndromes.

        sum over label sets Lab of this type, sum over S in Lab, (-1)^(|Lab| - |S|) chi_S(x)

    Lab gives each variable of the type a step, at most one label per step and square; chi_S is 1 where the run
    in which S fires ends wrong. A label fires if and only if the tuple it names is the one being read.

    Args:
        machine: Noiseless machine.
        problem: Supplies input, answer and steps.
        row: Which input.
        monomial: Type, sorted variable numbers.
    """
    total = 0
    for labels in _label_sets(machine, problem.steps[row], monomial):
        for size in range(len(labels) + 1):
            sign = (-1) ** (len(labels) - size)
            total += sign * sum(_wrong(machine, problem, row, S) for S in combinations(labels, size))
    return total


def _label_sets(machine: Machine, steps: int, monomial: Monomial) -> Iterator[tuple[Label, ...]]:
    """Sets of labels of a type with at most one label per (step, kind)."""
    powers = {v: monomial.count(v) for v in monomial}
    choices = [
        [tuple((time, v) for time in times) for times in combinations(range(steps), power)]
        for v, power in powers.items()
    ]
    for parts in product(*choices):
        labels = tuple(label for part in parts for label in part)
        slots = {(time, machine.errors[v].kind) for time, v in labels}
        if len(slots) == len(labels):
            yield labels


def _wrong(machine: Machine, problem: Problem, row: int, labels: Iterable[Label]) -> int:
    tape = dict(enumerate(problem.words[row]))
    head, state = 0, machine.start
    fires = [(time, machine.errors[v]) for time, v in labels]
    for time in range(problem.steps[row]):
        rule = machine.table[tape.get(head, machine.symbols[0]), state]
        here = (rule.symbol, rule.state)
        values = {kind: rule.value(kind) for kind in KINDS}
        values |= {e.kind: e.value for t, e in fires if t == time and (e.symbol, e.state) == here}
        tape[head], state = values["sym"], values["st"]
        head += SHIFT[values["dir"]]
    return int(machine.label[state] != problem.answers[row])


def syndrome_types(machine: Machine, problem: Problem, weight: int) -> frozenset[Monomial]:
    """Minimal types of uncorrected syndromes up to a weight, by walking through all runs with errors.

    Breadth first over (configuration, multiset of errors so far). The independent check of ``ideal.ideal``, and slower.
    """
    found: set[Monomial] = set()
    for row in range(len(problem.words)):
        found |= set(_ends_wrong(machine, problem, row, weight))
    return minimal(found)


Configuration = tuple[int, str, tuple[tuple[int, str], ...]]


def _ends_wrong(machine: Machine, problem: Problem, row: int, weight: int) -> Iterator[Monomial]:
    tape = tuple((u, s) for u, s in enumerate(problem.words[row]) if s != machine.symbols[0])
    layer: dict[Configuration, set[Monomial]] = {(0, machine.start, tape): {()}}
    options = {pair: _options(machine, pair) for pair in machine.table}
    for _ in range(problem.steps[row]):
        after: dict[Configuration, set[Monomial]] = {}
        for place, types in layer.items():
            for follower, used in _followers(machine, place, options):
                fresh = {tuple(sorted(m + used)) for m in types if len(m) + len(used) <= weight}
                if fresh:
                    after.setdefault(follower, set()).update(fresh)
        layer = after
    for (_, state, _), types in layer.items():
        if machine.label[state] != problem.answers[row]:
            yield from types


def _options(machine: Machine, pair: tuple[str, str]) -> list[tuple[dict[str, str], Monomial]]:
    """What a tuple can say, and the errors that takes."""
    rule = machine.table[pair]
    squares = []
    for kind in KINDS:
        wrong = machine.simplices.get(f"{pair[0]},{pair[1]}:{kind}", [])
        squares.append([(rule.value(kind), ()), *((machine.errors[v].value, (v,)) for v in wrong)])
    return [
        (dict(zip(KINDS, [value for value, _ in said], strict=True)), sum((used for _, used in said), ()))
        for said in product(*squares)
    ]


def _followers(
    machine: Machine, place: Configuration, options: Mapping[tuple[str, str], list]
) -> Iterator[tuple[Configuration, Monomial]]:
    head, state, cells = place
    tape = dict(cells)
    for values, used in options[tape.get(head, machine.symbols[0]), state]:
        written = {**tape, head: values["sym"]}
        kept = tuple(sorted((u, s) for u, s in written.items() if s != machine.symbols[0]))
        yield (head + SHIFT[values["dir"]], values["st"], kept), used
