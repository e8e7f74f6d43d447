r"""From a wanted response to a change of the data: the inverse of a noisy response matrix.

chi is measured, so its Gram matrix chi chi' is too large by the noise: E[chi chi'] = K + n sigma^2. The published
pseudo-inverse chi' (chi chi')^-1 therefore delivers less than asked, direction by direction. Chains of different
groups are independent, so the Gram matrix between groups,

    K = mean over g != g' of chi_g chi_g'',

has no such term, and dh = chi' K^-1 dmu / n_beta delivers what is asked on average (derived). Directions whose
strength does not stand out of its error are not inverted.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import RecipeError

Array = NDArray[np.float64]

RIDGES = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""Ridges that are tried, in units of the strongest direction."""


AGREES = 0.02
"""Difference of two correlations between halves that is not worth a ridge."""


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """How chi is inverted.

    Args:
        ridge: r in chi' (K + r kappa_1)^-1, in units of the strongest direction kappa_1; None: the smallest one
            whose dh agrees between disjoint halves of the chains as well as any.
        keep: Truncated: how many of the strongest directions are inverted; None: all that are resolved.
        noise_corrected: Use the Gram matrix between groups; False is the published pseudo-inverse.
        resolved_at: A direction is resolved when its strength exceeds so many standard errors.
    """

    ridge: float | None = None
    keep: int | None = None
    noise_corrected: bool = True
    resolved_at: float = 2.0

    def __post_init__(self) -> None:
        if (self.ridge is not None and self.ridge < 0) or (self.keep is not None and self.keep < 1):
            raise RecipeError(
                "ridge must be >= 0 and keep >= 1",
                where="Inversion",
                value=(self.ridge, self.keep),
                do="leave them out to have them chosen from the chains",
            )


PSEUDO_INVERSE = Inversion(ridge=0.0, noise_corrected=False, resolved_at=-1e9)
"""The published inverse (wang2026): no noise correction, nothing refused."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Principal directions of the observables, strongest first.

    Args:
        vectors: Orthonormal columns ``[observables, directions]``.
        strength: kappa_i = squared singular value of chi without the noise ``[directions]``.
        error: Its jackknife standard error.
        inverted: Which directions the plan uses.
    """

    vectors: Array
    strength: Array
    error: Array
    inverted: NDArray[np.bool_]

    @property
    def condition(self) -> float:
        """Ratio of the largest to the smallest inverted singular value; infinite where none is."""
        used = self.strength[self.inverted]
        return float(np.sqrt(used.max() / used.min())) if len(used) and used.min() > 0 else np.inf


def gram(replicates: Array, *, noise_corrected: bool) -> Array:
    """chi chi' ``[observables, observables]``, from different groups only if ``noise_corrected``."""
    groups = len(replicates)
    mean = replicates.mean(0)
    whole = mean @ mean.T
    if not noise_corrected:
        return whole
    own = np.einsum("gin,gjn->ij", replicates, replicates, optimize=True)
    return (groups**2 * whole - own) / (groups * (groups - 1))


def directions(replicates: Array, rule: Inversion) -> Directions:
    """Eigenvectors of the Gram matrix, the error of each strength, and which are inverted by ``rule``."""
    values, vectors = np.linalg.eigh(gram(replicates, noise_corrected=rule.noise_corrected))
    values, vectors = values[::-1], vectors[:, ::-1]
    error = _strength_error(replicates, vectors, rule)
    inverted = (values > rule.resolved_at * error) & (values > 1e-12 * values[0])
    if rule.keep is not None:
        inverted &= np.arange(len(values)) < rule.keep
    return Directions(vectors, values, error, inverted)


def _strength_error(replicates: Array, vectors: Array, rule: Inversion) -> Array:
    groups = len(replicates)
    if groups < 3:
        return np.zeros(vectors.shape[1])
    left = [
        np.diag(vectors.T @ gram(np.delete(replicates, g, 0), noise_corrected=rule.noise_corrected) @ vectors)
        for g in range(groups)
    ]
    return np.sqrt((groups - 1) / groups * ((np.stack(left) - np.mean(left, 0)) ** 2).sum(0))


def coefficients(replicates: Array, wanted: Array, used: Directions, how: Inversion) -> Array:
    """y ``[observables]`` of dh = chi' y for the response ``wanted`` = dmu / n_beta, along ``used.inverted``.

    y = U (U'KU + r kappa_1)^-1 U' wanted, with K from these replicates and U, kappa_1 from ``used``.
    """
    vectors = used.vectors[:, used.inverted]
    if not vectors.shape[1]:
        return np.zeros_like(wanted)
    inner = vectors.T @ gram(replicates, noise_corrected=how.noise_corrected) @ vectors
    floor = (how.ridge or 0.0) * used.strength[0] * np.eye(len(inner))
    return np.asarray(vectors @ np.linalg.solve(inner + floor, vectors.T @ wanted))


def shift(replicates: Array, wanted: Array, used: Directions, how: Inversion) -> Array:
    """dh ``[data]`` = chi' y, chi the mean of these replicates; see `coefficients`."""
    return replicates.mean(0).T @ coefficients(replicates, wanted, used, how)


def halves(groups: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Three ways to cut the groups into two disjoint halves: even and odd, first and last, pairs of two."""
    index = np.arange(groups)
    masks = [index % 2 == 0, index < groups // 2, index % 4 < 2]
    return [(index[mask], index[~mask]) for mask in masks]


def agreement(replicates: Array, wanted: Array, used: Directions, how: Inversion) -> Array:
    """Correlation of dh from disjoint halves of the chains, one value per split ``[3]``."""
    found = []
    for one, other in halves(len(replicates)):
        pair = [shift(replicates[half], wanted, used, how) for half in (one, other)]
        found.append(correlation(*pair))
    return np.array(found)


def correlation(one: Array, other: Array) -> float:
    """Pearson correlation of two vectors; NaN where one of them is constant."""
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else float("nan")


def chosen(replicates: Array, wanted: Array, used: Directions, how: Inversion) -> Inversion:
    """``how`` with its ridge: as given, or the smallest of `RIDGES` that agrees as well as any.

    As well means within one standard error, or `AGREES`, of the best: a ridge costs response and must earn it.
    """
    if how.ridge is not None:
        return how
    tried = [replace(how, ridge=ridge) for ridge in RIDGES]
    scores = np.array([agreement(replicates, wanted, used, rule) for rule in tried])
    mean, spread = scores.mean(1), scores.std(1, ddof=1) / np.sqrt(scores.shape[1])
    if not np.isfinite(mean).any():
        return tried[0]
    best = int(np.nanargmax(mean))
    enough = mean >= mean[best] - max(AGREES, float(np.nan_to_num(spread[best])))
    return tried[int(np.flatnonzero(enough)[0])]
