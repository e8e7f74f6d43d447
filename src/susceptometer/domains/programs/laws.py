"""Descriptions whose squares hold laws instead of values: numbers, polynomials or ideals, all by + and *."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from sympy import QQ
from sympy.polys.rings import ring

from susceptometer.domains.programs.machine import Machine
from susceptometer.testbed.monomial import MonomialIdeal, Truncation

Element = Any
"""An element of a commutative semiring with + and *; None is its zero."""

Law = tuple[tuple[str, Element], ...]
"""Values of one square with their weights, impossible ones left out."""


@dataclass(frozen=True)
class Description:
    """The noisy description tape of a machine.

    Args:
        machine: Its noiseless machine.
        laws: (symbol, state, kind) to the law of that square.
        one: Unit of the semiring.
    """

    machine: Machine
    laws: dict[tuple[str, str, str], Law]
    one: Element

    def law(self, symbol: str, state: str, kind: str) -> Law:
        """The law of one square."""
        return self.laws[symbol, state, kind]


def describe(
    machine: Machine, error: Callable[[int], Element], right: Callable[[list[int]], Element], one: Element
) -> Description:
    """A description from the weight of every error and of the correct value beside the given errors."""
    laws: dict[tuple[str, str, str], Law] = {}
    for rule in machine.rules:
        for kind in ("sym", "st", "dir"):
            numbers = machine.simplices.get(f"{rule.symbol},{rule.state}:{kind}", [])
            wrong = tuple((machine.errors[v].value, error(v)) for v in numbers)
            correct = (rule.value(kind), right(numbers) if numbers else one)
            laws[rule.symbol, rule.state, kind] = (correct, *wrong)
    return Description(machine, laws, one)


def numeric(machine: Machine, eps: Any) -> Description:  # noqa: ANN401 - numpy or torch
    """Probabilities: ``eps`` [d, *chains] (numpy or torch, real or complex) gives elements [*chains]."""

    def right(numbers: list[int]) -> Element:
        return 1 - reduce(lambda a, b: a + b, [eps[v] for v in numbers])

    one = eps[0] * 0 + 1 if len(eps) else np.ones(())
    return describe(machine, lambda v: eps[v], right, one)


def ideals(machine: Machine, truncation: Truncation) -> Description:
    """Every error is its own variable, every correct value a unit."""
    one = MonomialIdeal(frozenset({()}), truncation)
    return describe(machine, lambda v: MonomialIdeal(truncation.kept([(v,)]), truncation), lambda _: one, one)


def polynomials(machine: Machine, names: Sequence[str] | None = None) -> Description:
    """Polynomials with rational coefficients in the errors (sympy ring elements, named e0, e1, ...)."""
    names = names or [f"e{v}" for v in range(machine.dim)]
    space, *variables = ring(list(names), QQ)

    def right(numbers: list[int]) -> Element:
        return space(1) - sum((variables[v] for v in numbers), space(0))

    return describe(machine, lambda v: variables[v], right, space(1))


def plus(*terms: Element) -> Element:
    """Sum; None is zero."""
    present = [term for term in terms if term is not None]
    return reduce(lambda a, b: a + b, present) if present else None


def times(*factors: Element) -> Element:
    """Product; None is zero."""
    if any(factor is None for factor in factors):
        return None
    return reduce(lambda a, b: a * b, factors)
