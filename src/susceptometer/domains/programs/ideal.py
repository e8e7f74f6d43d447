"""The ideal of uncorrected errors of a machine, by running its semantics on monomial ideals (murfet2025)."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from susceptometer.domains.programs.exact import ExactRun
from susceptometer.domains.programs.laws import Element, ideals, plus
from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.naive import naive_run
from susceptometer.domains.programs.problem import Problem
from susceptometer.testbed.monomial import Monomial, Truncation, minimal
from susceptometer.testbed.newton import NewtonValue, learning_coefficient

Semantics = Literal["exact", "unstaged", "staged"]


def ideal(machine: Machine, problem: Problem, degree: int, semantics: Semantics = "exact") -> frozenset[Monomial]:
    """Minimal error types that some input does not correct, up to a degree.

    f = E_x (1 - p(correct)) is a sum of positive monomials in eps and in factors near 1, so near eps = 0 it is
    comparable with the sum of these monomials. Degrees are raised one by one and multiples of what is already
    known are dropped on the way.

    Args:
        machine: Noiseless machine; variable v is ``machine.errors[v]``.
        problem: Inputs, answers, steps.
        degree: Types of a larger degree are left out: lambda of the result is then a lower bound.
        semantics: "exact", "unstaged" or "staged".

    Raises:
        SubjectError: The machine does not solve the problem.
    """
    problem.check(machine)
    known: frozenset[Monomial] = frozenset()
    for cap in range(1, degree + 1):
        known = minimal(known | _fresh(machine, problem, Truncation(cap, known), semantics))
    return known


def _fresh(machine: Machine, problem: Problem, truncation: Truncation, semantics: Semantics) -> set[Monomial]:
    description = ideals(machine, truncation)
    runs: dict[frozenset[str], ExactRun] = {}
    found: set[Monomial] = set()
    for row, word in enumerate(problem.words):
        wrong = problem.wrong_states(machine, row)
        total: Element
        if semantics == "exact":
            exact = runs.setdefault(wrong, ExactRun(description, wrong, truncation.cap))
            total = exact.weight(word, problem.steps[row])
        else:
            law = naive_run(description, [word], problem.steps[row], staged=semantics == "staged")
            total = plus(*[law.get(state) for state in wrong])
        found |= total.generators if total is not None else set()
    return found


@dataclass(frozen=True)
class ExactCoefficient:
    """Exact learning coefficient of a machine, with everything that fixes the number.

    Args:
        newton: lambda_f and m with certificates.
        generators: Minimal uncorrected error types.
        degree: Where types were cut.
        semantics: "exact", "unstaged" or "staged".
    """

    newton: NewtonValue
    generators: frozenset[Monomial]
    degree: int
    semantics: Semantics

    @cached_property
    def stable(self) -> bool:
        """Whether a cut one degree lower gives the same value and multiplicity."""
        lower = [g for g in self.generators if len(g) < self.degree]
        before = learning_coefficient(lower) if lower else None
        here = self.newton
        return before is not None and (before.value, before.multiplicity) == (here.value, here.multiplicity)

    @property
    def lambda_f(self) -> float:
        """Learning coefficient of f (and of the noiseless log loss)."""
        return float(self.newton.value)

    @property
    def lambda_H(self) -> float:
        """Learning coefficient of H = E f²: half of ``lambda_f``, same multiplicity."""
        return float(self.newton.value) / 2

    @property
    def multiplicity(self) -> int:
        """Multiplicity m."""
        return self.newton.multiplicity


def exact_coefficient(
    machine: Machine, problem: Problem, degree: int, semantics: Semantics = "exact"
) -> ExactCoefficient:
    """lambda_f and m by linear program, from types up to a degree.

    Raises:
        SubjectError: The machine does not solve the problem.
        DataError: No error of this degree or less is uncorrected.
    """
    generators = ideal(machine, problem, degree, semantics)
    return ExactCoefficient(learning_coefficient(generators), generators, degree, semantics)
