r"""Reduced-rank regression: two linear layers, with every case of the learning coefficient known.

Input N, hidden H, output M, teacher of rank r; K = ½ |W_2 W_1 - W*|_F². The coefficient and its
multiplicity are those of aoyagi2005 (Main Theorem, four cases).
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from susceptometer.errors import RecipeError
from susceptometer.testbed import quadrature
from susceptometer.testbed.linear import LinearNetwork


def network(inputs: int, hidden: int, outputs: int, *, rank: int) -> LinearNetwork:
    """The two-layer network as a system: loss, gradient and balanced centre."""
    return LinearNetwork((inputs, hidden, outputs), rank)


def case(inputs: int, hidden: int, outputs: int, *, rank: int) -> int:
    """Which of the four cases of aoyagi2005 applies, tested in their order."""
    if outputs + rank <= inputs + hidden and inputs + rank <= outputs + hidden and hidden + rank <= outputs + inputs:
        return 1
    if inputs + hidden < outputs + rank:
        return 2
    return 3 if outputs + hidden < inputs + rank else 4


def llc(inputs: int, hidden: int, outputs: int, *, rank: int) -> tuple[Fraction, int]:
    """Learning coefficient lambda and multiplicity m (aoyagi2005, Main Theorem).

    Case 1: ``(2 (H+r)(M+N) - (M-N)² - (H+r)²)/8``, m = 1; plus 1/8 and m = 2 if M+N+H+r is odd.
    Cases 2, 3, 4: ``(HN - Hr + Mr)/2``, ``(HM - Hr + Nr)/2``, ``MN/2``, m = 1.

    Raises:
        RecipeError: The rank exceeds a width.
    """
    _refuse_rank(inputs, hidden, outputs, rank)
    which = case(inputs, hidden, outputs, rank=rank)
    if which == 1:
        wide, odd = hidden + rank, (outputs + inputs + hidden + rank) % 2
        value = 2 * wide * (outputs + inputs) - (outputs - inputs) ** 2 - wide**2 + odd
        return Fraction(value, 8), 1 + odd
    narrow = {
        2: hidden * (inputs - rank) + outputs * rank,
        3: hidden * (outputs - rank) + inputs * rank,
        4: outputs * inputs,
    }
    return Fraction(narrow[which], 2), 1


def half_codimension(inputs: int, hidden: int, outputs: int, *, rank: int) -> Fraction:
    """The same lambda by another route: half the codimension of the largest stratum of the fibre.

    ``½ [r (M+N-r) + min_a ((N-r-a)(H-r-a) + (M-r) a)]`` over 0 <= a <= min(N, H) - r, with a the
    rank of the part of W_1 outside the teacher (derived; lehalleur2024).
    """
    n, h, m = inputs - rank, hidden - rank, outputs - rank
    free = min((n - a) * (h - a) + m * a for a in range(min(n, h) + 1))
    return Fraction(rank * (outputs + inputs - rank) + free, 2)


def local_llc(first: ArrayLike, second: ArrayLike) -> tuple[Fraction, int]:
    """Local coefficient and multiplicity at ANY factorisation W_1 [H, N], W_2 [M, H] of the teacher.

    With a, b, r the ranks of W_1, W_2 and W_2 W_1: ``(M a + N b - a b)/2`` plus the coefficient of
    a rank-0 problem of sizes N - a, H - a - b + r, M - b (derived). It can exceed ``llc``, which
    is the minimum over the fibre; at a balanced factorisation (a = b = r) they are equal.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    (hidden, inputs), outputs = one.shape, two.shape[0]
    a, b, r = (int(np.linalg.matrix_rank(matrix)) for matrix in (one, two, two @ one))
    regular = Fraction(outputs * a + inputs * b - a * b, 2)
    rest = inputs - a, hidden - a - b + r, outputs - b
    if min(rest) == 0:
        return regular, 1
    singular, multiplicity = llc(*rest, rank=0)
    return regular + singular, multiplicity


def zero_teacher_llc(inputs: int, hidden: int, outputs: int, *, n_beta: float, gamma: float) -> float:
    """Exact coefficient at finite n_beta for W* = 0, w* = 0 and min(N, H) <= 2.

    W_2 integrates out (each row is normal), leaving ``det(gamma + t W_1 W_1')^{-M/2}`` over the
    one or two Wishart eigenvalues l of W_1:  ``llc = (M/2) E[sum t l / (gamma + t l)]`` (derived).

    Raises:
        RecipeError: min(N, H) > 2, or gamma is not positive.
    """
    small, large = sorted((inputs, hidden))
    if small > 2 or gamma <= 0:
        raise RecipeError(
            "no closed quadrature",
            where="rank.zero_teacher_llc",
            value=(inputs, hidden, gamma),
            why="it is written for one or two eigenvalues and a positive gamma",
            do="choose min(inputs, hidden) <= 2 and gamma > 0",
        )
    top = math.log(1500 / gamma)
    logs, weights = quadrature.gauss(top - 60.0, top, 40)
    ratio, ratio_weights = quadrature.gauss(-60.0, 0.0, 40) if small == 2 else (np.zeros(1), np.ones(1))
    biggest, smaller = np.exp(logs)[:, None], np.exp(logs[:, None] + ratio)
    eigenvalues = [biggest, smaller][:small]
    power = (large - small + 1) / 2  # l^{(large-small-1)/2} dl in log l
    density = weights[:, None] * ratio_weights
    for value in eigenvalues:
        density = density * value**power * np.exp(-gamma * value / 2)
        density = density * (1 + n_beta * value / gamma) ** (-outputs / 2)
    if small == 2:
        density = density * (biggest - smaller)
    answer = sum(n_beta * value / (gamma + n_beta * value) for value in eigenvalues)
    return float(outputs / 2 * np.sum(density * answer) / np.sum(density))


def _refuse_rank(inputs: int, hidden: int, outputs: int, rank: int) -> None:
    """Raise where the teacher cannot be written by the network."""
    if not 0 <= rank <= min(inputs, hidden, outputs):
        raise RecipeError(
            "the teacher does not fit",
            where="rank.llc",
            value=(inputs, hidden, outputs, rank),
            why="a product of these matrices has rank at most the smallest width",
            do="lower the rank",
        )
