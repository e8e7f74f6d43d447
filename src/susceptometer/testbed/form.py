"""Quadratic functions and normal laws, and the moments they have together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from susceptometer.errors import RecipeError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Law:
    """A normal law of the displacement v: ``mean`` [D] (weight), ``covariance`` [D, D] (weight²)."""

    mean: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class Form:
    """One quadratic function of v, or a stack of them: constant + slope'v + ½ v' hessian v.

    Shapes:
        hessian   *event D D    symmetric
        slope     *event D
        constant  *event        the value at w*
    """

    hessian: Array
    slope: Array
    constant: Array

    def __call__(self, displacement: ArrayLike) -> Array:
        """Value at one displacement [D] -> [*event]."""
        v = np.asarray(displacement, dtype=np.float64)
        return np.asarray(self.constant + self.slope @ v + 0.5 * (self.hessian @ v) @ v)

    def __sub__(self, other: "Form") -> "Form":
        return Form(
            self.hessian - other.hessian,
            self.slope - other.slope,
            np.asarray(self.constant - other.constant),
        )

    def __getitem__(self, index: Any) -> "Form":
        return Form(self.hessian[index], self.slope[index], np.asarray(self.constant[index]))

    def gradient(self, displacement: ArrayLike) -> Array:
        """Gradient at one displacement [D] -> [*event, D]."""
        return self.slope + self.hessian @ np.asarray(displacement, dtype=np.float64)

    def average(self) -> "Form":
        """Mean over the leading event axis."""
        return Form(self.hessian.mean(0), self.slope.mean(0), np.asarray(self.constant.mean(0)))

    def restrict(self, index: Sequence[int]) -> "Form":
        """The same function on the slice where only the weights ``index`` move."""
        keep = np.asarray(index)
        return Form(self.hessian[..., keep[:, None], keep], self.slope[..., keep], self.constant)

    def mean(self, law: Law) -> Array:
        """Expectation, ``f(mu) + ½ tr(A Sigma)`` (Gaussian moments) -> [*event]."""
        curved = np.einsum("...ij,ji->...", self.hessian, law.covariance)
        return np.asarray(self(law.mean) + 0.5 * curved)

    def covariance(self, other: "Form", law: Law) -> Array:
        """Covariance of every member with every member of ``other`` -> [*event, *other event].

        ``½ tr(A Sigma B Sigma) + (A mu + a)' Sigma (B mu + b)`` (Isserlis 1918).
        """
        size = law.mean.size**2
        left = (self.hessian @ law.covariance).reshape(-1, size)
        right = np.swapaxes(other.hessian @ law.covariance, -1, -2).reshape(-1, size)
        slopes = self.gradient(law.mean) @ law.covariance
        product = slopes.reshape(-1, law.mean.size) @ other.gradient(law.mean).reshape(-1, law.mean.size).T
        return (0.5 * left @ right.T + product).reshape(self.constant.shape + other.constant.shape)


@dataclass(frozen=True, eq=False)
class Energy:
    """The quadratic U = n_beta L + (gamma/2)|v|² as a sampler sees it.

    Shapes:
        precision  D D    P, the Hessian of U
        slope      D      n_beta r, the gradient of U at w*
        noise      D D    covariance of the mini-batch gradient of U, n_beta² G; zero: full batch
    """

    precision: Array
    slope: Array
    noise: Array

    @property
    def law(self) -> Law:
        """The Gibbs law exp(-U).

        Raises:
            RecipeError: U is not bounded below.
        """
        smallest = float(np.linalg.eigvalsh(self.precision)[0])
        if smallest <= 0:
            raise RecipeError(
                "the local posterior does not exist",
                where="form.Energy",
                value=smallest,
                why="n_beta H + gamma I has a direction of negative curvature",
                do="raise gamma above minus n_beta times the smallest curvature",
            )
        covariance: Array = np.asarray(np.linalg.inv(self.precision), dtype=np.float64)
        return Law(-covariance @ self.slope, covariance)

    @property
    def log_normaliser(self) -> float:
        """log of the integral of exp(-(U(w) - U(w*))) over all weights."""
        law = self.law
        determinant = float(np.linalg.slogdet(self.precision)[1])
        gain = -0.5 * float(self.slope @ law.mean)
        return 0.5 * law.mean.size * math.log(2 * math.pi) - 0.5 * determinant + gain
