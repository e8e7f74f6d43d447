r"""The leading term of a machine's partition function, and with it what its posterior answers to each input, exactly.

Let every input x have its own weight, Z(a) = integral of exp(-sum_x a_x f_x) over the box, a = n q. With z the optimal
covering of `newton.learning_coefficient`, errors with z_v > 0 shrink as n^-z_v, the others, u, stay of order one. The
monomials with z . k = 1 lead, f_x ~ sum_k c_xk(u) eps^k. Where they are as many as the shrinking errors (matrix E of
exponents, square), the substitution s_k = C_k eps^k, C_k = sum_x a_x c_xk, gives (derived)

    Z(a) -> |det E|^-1 prod_k Gamma(y_k) * integral du prod_k C_k(u)^-y_k,      E' y = 1, sum_k y_k = lambda.

Its derivatives in a are means and covariances of f_x under the posterior. With m_x = sum_k y_k c_xk/C_k at a = q,

    n E[f_x] -> l_x = E_u[m_x],      n² Cov[f_x, f_x'] -> E_u[sum_k y_k c_xk c_x'k/C_k²] + Cov_u[m_x, m_x'],

so sum_x q_x l_x = lambda: every input has its share of the coefficient, and the susceptibility of f to input x is
n² chi_x = -n² Cov[f, f_x - f] -> -(l_x - lambda). The perturbed coefficient itself does not move:
f gives way by as much as the weight of x adds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from scipy.special import gamma
from sympy import QQ
from sympy.polys.matrices import DomainMatrix

from susceptometer.domains.programs.corner import BOX
from susceptometer.domains.programs.exact import ExactRun
from susceptometer.domains.programs.laws import polynomials
from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.problem import Problem
from susceptometer.errors import DataError
from susceptometer.testbed import quadrature
from susceptometer.testbed.form import Array
from susceptometer.testbed.monomial import Monomial
from susceptometer.testbed.newton import learning_coefficient

Terms = Mapping[Monomial, Fraction]
"""A polynomial: sorted variable numbers to coefficient."""

MOST_FREE = 3
"""Errors of order one that are integrated by quadrature, at most."""

DEPTH, PANELS = 30.0, {0: 1, 1: 12, 2: 8, 3: 3}
"""Reach of the logarithmic rules towards 0, and their panels by number of dimensions."""


@dataclass(frozen=True)
class InputResponse:
    """What the posterior of a machine answers to each input, in the limit of large n.

    Args:
        words: Inputs.
        value: lambda_f.
        share: l_x, the limit of n E[f_x] ``[inputs]``; its mean over inputs is lambda_f.
        covariance: Limit of n² Cov[f_x, f_x'] ``[inputs, inputs]``.
        constant: Limit of n^lambda Z(n) with inputs of equal weight, over the box.
    """

    words: tuple[str, ...]
    value: Fraction
    share: Array
    covariance: Array
    constant: float

    @property
    def chi(self) -> Array:
        """Limit of n² chi_x of the observable f ``[inputs]``; below 0: more weight on x lowers the loss."""
        return -(self.share - float(self.value))


def square_of(machine: Machine, name: str) -> Machine:
    """The machine with all errors held at zero but those of one square, ``symbol,state:kind``.

    Raises:
        DataError: There is no such noisy square.
    """
    if name not in machine.simplices:
        raise DataError(
            "no such noisy square", where=machine.name, value=name, do=f"use one of {list(machine.simplices)[:12]}"
        )
    kept = {machine.errors[v] for v in machine.simplices[name]}
    return replace(machine, frozen=machine.frozen | (frozenset(machine.errors) - kept))


def input_response(machine: Machine, problem: Problem) -> InputResponse:
    """The limits above, exact semantics; zero for a machine that no error of its own can make answer wrongly.

    Raises:
        SubjectError: The machine does not solve the problem.
        DataError: m > 1, leading monomials that are not as many as the shrinking errors, or more than `MOST_FREE`
            errors of order one in their coefficients: there is no closed form here; sample instead.
    """
    problem.check(machine)
    losses = [_terms(machine, problem, row) for row in range(len(problem.words))]
    every = {monomial for terms in losses for monomial in terms}
    size = len(losses)
    if not every:
        return InputResponse(problem.words, Fraction(0), np.zeros(size), np.zeros((size, size)), np.nan)
    found = learning_coefficient(every)
    if found.multiplicity > 1:
        raise _refusal(machine, f"m = {found.multiplicity}", "logarithms of n come in")
    moving = [v for v, z in found.cover.items() if z > 0]
    leading = [_leading(terms, found.cover) for terms in losses]
    kinds = sorted({kind for parts in leading for kind in parts})
    powers, shares = _packing(machine, kinds, moving)
    nodes, weights = _free(machine, leading, moving)
    values = np.array([[_value(parts.get(kind, {}), nodes) for kind in kinds] for parts in leading])
    return _limits(problem, found.value, (powers, shares), (values, weights))


def _limits(
    problem: Problem, value: Fraction, packing: tuple[float, Array], coefficients: tuple[Array, Array]
) -> InputResponse:
    """Means over u from c_xk(u) ``[inputs, kinds, nodes]`` and the weights of the nodes."""
    determinant, y = packing
    c, weights = coefficients
    ratio = c / c.mean(0)
    density = weights * np.exp(-(y[:, None] * np.log(c.mean(0))).sum(0))
    law = density / density.sum()
    m = np.einsum("k,xkn->xn", y, ratio)
    share = m @ law
    around = m - share[:, None]
    covariance = np.einsum("k,xkn,zkn,n->xz", y, ratio, ratio, law) + (around * law) @ around.T
    constant = float(np.prod(gamma(y)) / determinant * density.sum())
    return InputResponse(problem.words, value, share, covariance, constant)


def _terms(machine: Machine, problem: Problem, row: int) -> Terms:
    """f_x as a polynomial."""
    run = ExactRun(polynomials(machine), problem.wrong_states(machine, row))
    found = run.weight(problem.words[row], problem.steps[row]) if machine.dim else None
    if found is None:
        return {}
    return {
        tuple(v for v, power in enumerate(exponents) for _ in range(power)): Fraction(int(value))
        for exponents, value in found.terms() if value
    }  # fmt: skip


def _leading(terms: Terms, cover: Mapping[int, Fraction]) -> dict[Monomial, dict[Monomial, Fraction]]:
    """The terms with z . k = 1: shrinking part to (part of order one to coefficient)."""
    found: dict[Monomial, dict[Monomial, Fraction]] = {}
    for monomial, value in terms.items():
        if sum((cover.get(v, Fraction(0)) for v in monomial), Fraction(0)) == 1:
            moving = tuple(v for v in monomial if cover.get(v, 0) > 0)
            rest = tuple(v for v in monomial if not cover.get(v, 0) > 0)
            found.setdefault(moving, {})[rest] = value
    return found


def _packing(machine: Machine, kinds: Sequence[Monomial], moving: Sequence[int]) -> tuple[float, Array]:
    """|det E| and y with E' y = 1."""
    exponents = [[QQ(kind.count(v)) for v in moving] for kind in kinds]
    if len(kinds) != len(moving):
        raise _refusal(
            machine, f"{len(kinds)} leading monomials of {len(moving)} errors", "they cannot be scaled one by one"
        )
    matrix = DomainMatrix(exponents, (len(kinds), len(moving)), QQ)
    determinant = abs(float(matrix.charpoly()[-1])) if moving else 1.0
    if determinant == 0:
        raise _refusal(machine, "dependent leading monomials", "they cannot be scaled one by one")
    ones = DomainMatrix([[QQ(1)] for _ in moving], (len(moving), 1), QQ)
    y = matrix.transpose().lu_solve(ones).to_list_flat()
    return determinant, np.array([float(value) for value in y])


def _free(machine: Machine, leading: Sequence[Mapping], moving: Sequence[int]) -> tuple[dict[int, Array], Array]:
    """Nodes of the errors of order one that coefficients hold, and weights over their squares' boxes."""
    seen = {v for parts in leading for terms in parts.values() for rest in terms for v in rest}
    squares = [numbers for numbers in machine.simplices.values() if seen & set(numbers)]
    free = [[v for v in numbers if v not in moving] for numbers in squares]
    count = sum(map(len, free))
    if count > MOST_FREE:
        raise _refusal(machine, f"{count} errors of order one", "their integral is not done by quadrature")
    logs, log_weights = quadrature.gauss(-DEPTH, 0.0, PANELS[count])
    line, line_weights = np.exp(logs), log_weights * np.exp(logs)
    mesh = np.meshgrid(*[line] * count, indexing="ij") if count else []
    weights = np.ones(mesh[0].shape if count else (1,))
    for axis in range(count):
        weights = weights * line_weights.reshape([-1 if k == axis else 1 for k in range(count)])
    nodes: dict[int, Array] = {}
    place = 0
    for numbers in free:
        room = np.full(weights.shape, BOX)
        for v in numbers:
            nodes[v], weights = room * mesh[place], weights * room
            room, place = room - nodes[v], place + 1
    return {v: values.ravel() for v, values in nodes.items()}, weights.ravel()


def _value(terms: Terms, nodes: Mapping[int, Array]) -> Array:
    """A coefficient at the nodes ``[nodes]``."""
    size = len(next(iter(nodes.values()))) if nodes else 1
    total = np.zeros(size)
    for monomial, value in terms.items():
        total = total + float(value) * np.prod([nodes[v] for v in monomial], axis=0)
    return total


def _refusal(machine: Machine, value: str, why: str) -> DataError:
    return DataError(
        "the leading term has no closed form here",
        where=f"input_response of {machine.name!r}",
        value=value,
        why=why,
        do="sample it (responses.sampled_response), or ask for single squares (leading.square_of)",
    )
