r"""Deep linear networks: the learning coefficient at any depth, in exact rational arithmetic.

Widths d_0 .. d_L, teacher of rank r, M_i = d_i - r. The coefficient at a balanced w* is Aoyagi's
formula (aoyagi2024), which equals half the codimension of the fibre of the multiplication map
(lehalleur2024). The multiplicity at three layers or more rests on the formula alone.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np

from susceptometer.errors import RecipeError
from susceptometer.testbed.linear import LinearNetwork


def network(widths: Sequence[int], rank: int) -> LinearNetwork:
    """The network as a system: loss, gradient and balanced centre."""
    return LinearNetwork(tuple(widths), rank)


def llc(widths: Sequence[int], rank: int) -> tuple[Fraction, int]:
    """Learning coefficient lambda and multiplicity m (aoyagi2024).

    With S the accepted excess widths, l = |S| - 1, s = sum S and a = s - (ceil(s/l) - 1) l:

    ``lambda = (r (d_0 + d_L) - r²)/2 + a (l-a)/(4 l) - (l-1) s²/(4 l) + ½ sum_{i<j in S} M_i M_j``,
    ``m = a (l - a) + 1``.

    Raises:
        RecipeError: Fewer than two layers, or the rank exceeds a width.
    """
    chosen, layers, remainder = accepted(widths, rank)
    total = sum(chosen)
    pairs = sum(a * b for a, b in combinations(chosen, 2))
    value = Fraction(rank * (widths[0] + widths[-1]) - rank**2, 2)
    value += Fraction(remainder * (layers - remainder) - (layers - 1) * total**2, 4 * layers)
    return value + Fraction(pairs, 2), remainder * (layers - remainder) + 1


def accepted(widths: Sequence[int], rank: int) -> tuple[tuple[int, ...], int, int]:
    """The excess widths S that enter the formula, with l and a (aoyagi2024).

    Of the sorted M_i = d_i - r exactly one prefix of 2 values or more has max S < min(rest) and
    l max S <= sum S < l min(rest).
    """
    _refuse(widths, rank)
    excess = sorted(width - rank for width in widths)
    for count in range(2, len(excess) + 1):
        chosen, layers = tuple(excess[:count]), count - 1
        floor = excess[count] if count < len(excess) else math.inf
        total = sum(chosen)
        if chosen[-1] < floor and layers * chosen[-1] <= total < layers * floor:
            return chosen, layers, total - (-(-total // layers) - 1) * layers
    raise AssertionError(f"no prefix of {excess} is accepted")


def half_codimension(widths: Sequence[int], rank: int) -> Fraction:
    """The same lambda by an independent route (lehalleur2024; recursion derived).

    ``½ [r (d_0 + d_L - r) + c(0, M_0)]`` where ``c(k, rho) = min_s (rho - s)(M_{k+1} - s) +
    c(k+1, s)`` runs over the rank s of the first k + 1 excess layers and ends at rank zero.
    """
    _refuse(widths, rank)
    excess = [width - rank for width in widths]

    @cache
    def codimension(layer: int, before: int) -> float:
        if layer == len(excess) - 1:
            return 0 if before == 0 else math.inf
        width = excess[layer + 1]
        return min(
            (before - after) * (width - after) + codimension(layer + 1, after)
            for after in range(min(before, width) + 1)
        )

    free = int(codimension(0, excess[0]))
    return Fraction(rank * (widths[0] + widths[-1] - rank) + free, 2)


def random_network(
    seed: int, *, depth: tuple[int, int], width: tuple[int, int], truncated: float = 0.5
) -> LinearNetwork:
    """A random architecture and teacher rank, after the protocol of lau2023.

    Depth and widths are uniform in the (inclusive) ranges; each matrix is, with probability
    ``truncated``, cut in rank by a uniform amount; the rank is the smallest of all. w* is balanced,
    which their random teachers are not, so that the formula is the local value.
    """
    generator = np.random.default_rng(seed)
    layers = int(generator.integers(depth[0], depth[1] + 1))
    widths = [int(n) for n in generator.integers(width[0], width[1] + 1, layers + 1)]
    ranks = []
    for rows, columns in zip(widths[1:], widths[:-1], strict=True):
        largest = min(rows, columns)
        cut = generator.random() < truncated
        ranks.append(int(generator.integers(0, largest + 1)) if cut else largest)
    return LinearNetwork(tuple(widths), min(ranks))


def _refuse(widths: Sequence[int], rank: int) -> None:
    """Raise unless there are two layers or more and the teacher fits through them."""
    if len(widths) < 3 or not 0 <= rank <= min(widths):
        raise RecipeError(
            "not a deep linear network",
            where="deep_linear",
            value=(tuple(widths), rank),
            why="the formula needs three widths or more and a rank that fits through every layer",
            do="lower the rank, or use d/2 for a single layer",
        )
