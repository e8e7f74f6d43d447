r"""Quadratic losses: every answer of a local posterior in closed form.

With v = w - w* the base loss is L(w* + v) = L* + r'v + ½ v'Hv and one token's loss is
l_x(w* + v) = l* + t_x'v + ½ v'A_x v; H and r are the means of A_x and t_x over the base tokens.
The local posterior exp(-n_beta L - (gamma/2) |v|²) is then Gaussian:

    P = n_beta H + gamma I,    mu = -n_beta P⁻¹ r,    Sigma = P⁻¹
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from susceptometer.errors import ComponentError, DataError, RecipeError
from susceptometer.types import Batch, Params

Array = NDArray[np.float64]


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
        return self.constant + self.slope @ v + 0.5 * (self.hessian @ v) @ v

    def __sub__(self, other: "Form") -> "Form":
        return Form(
            self.hessian - other.hessian, self.slope - other.slope, self.constant - other.constant
        )

    def __getitem__(self, index: object) -> "Form":
        return Form(self.hessian[index], self.slope[index], self.constant[index])  # type: ignore[index]

    def gradient(self, displacement: ArrayLike) -> Array:
        """Gradient at one displacement [D] -> [*event, D]."""
        return self.slope + self.hessian @ np.asarray(displacement, dtype=np.float64)

    def average(self) -> "Form":
        """Mean over the leading event axis."""
        return Form(self.hessian.mean(0), self.slope.mean(0), self.constant.mean(0))

    def restrict(self, index: Sequence[int]) -> "Form":
        """The same function on the slice where only the weights ``index`` move."""
        keep = np.asarray(index)
        return Form(
            self.hessian[..., keep[:, None], keep], self.slope[..., keep], self.constant
        )

    def mean(self, law: Law) -> Array:
        """Expectation, ``f(mu) + ½ tr(A Sigma)`` (Gaussian moments) -> [*event]."""
        return self(law.mean) + 0.5 * np.einsum("...ij,ji->...", self.hessian, law.covariance)

    def covariance(self, other: "Form", law: Law) -> Array:
        """Covariance of every member with every member of ``other`` -> [*event, *other event].

        ``½ tr(A Sigma B Sigma) + (A mu + a)' Sigma (B mu + b)`` (Isserlis 1918).
        """
        size = law.mean.size**2
        left = (self.hessian @ law.covariance).reshape(-1, size)
        right = np.swapaxes(other.hessian @ law.covariance, -1, -2).reshape(-1, size)
        slopes = self.gradient(law.mean) @ law.covariance
        product = slopes.reshape(-1, law.mean.size) @ other.gradient(law.mean).reshape(
            -1, law.mean.size
        ).T
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
                "the local posterior does not exist", where="gaussian.Energy", value=smallest,
                why="n_beta H + gamma I has a direction of negative curvature",
                do="raise gamma above minus n_beta times the smallest curvature",
            )
        covariance = np.linalg.inv(self.precision)
        return Law(-covariance @ self.slope, covariance)

    @property
    def log_normaliser(self) -> float:
        """log of the integral of exp(-(U(w) - U(w*))) over all weights."""
        law = self.law
        determinant = float(np.linalg.slogdet(self.precision)[1])
        gain = -0.5 * float(self.slope @ law.mean)
        return 0.5 * law.mean.size * math.log(2 * math.pi) - 0.5 * determinant + gain


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A model whose token losses are quadratic in the weights.

    Args:
        tokens: One quadratic per base token [X]; the base loss is their mean. Nats.
        anchor: w* as one vector [D].
        parts: Names and sizes of the consecutive parameters that make up the vector.

    Raises:
        DataError: The sizes of ``tokens``, ``anchor`` and ``parts`` do not agree.
    """

    tokens: Form
    anchor: Array
    parts: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        sizes = (self.tokens.slope.shape[-1], self.anchor.size, sum(n for _, n in self.parts))
        if len(set(sizes)) != 1:
            raise DataError(
                "sizes do not agree", where="gaussian.Quadratic", value=sizes,
                why="tokens, anchor and parts must describe the same D weights",
                do="give tokens [X, D], anchor [D] and parts that add to D",
            )

    @cached_property
    def base(self) -> Form:
        """The base loss L, the mean over tokens. Nats."""
        return self.tokens.average()

    @property
    def perturbations(self) -> Form:
        """f_x = l_x - L for every token [X]. Nats."""
        return self.tokens - self.base

    @property
    def center(self) -> Params:
        """w* as float64 parameters."""
        values = torch.as_tensor(self.anchor, dtype=torch.float64).clone()
        names, sizes = zip(*self.parts, strict=True)
        return dict(zip(names, values.split(list(sizes)), strict=True))

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """Token losses of ``batch["index"]`` (any integer shape) in nats -> the same shape."""
        vector = torch.cat([params[name] for name, _ in self.parts])
        hessian, slope, constant, anchor = _tables(self, vector.dtype, vector.device)
        v = vector - anchor
        index = batch["index"]
        curved = (hessian[index] @ v) @ v
        return constant[index] + slope[index] @ v + 0.5 * curved

    def energy(self, n_beta: float, gamma: float, gradient_noise: Array | None = None) -> Energy:
        """U at these settings; ``gradient_noise`` G [D, D] is the covariance of grad L_m."""
        size = self.anchor.size
        noise = np.zeros((size, size)) if gradient_noise is None else np.asarray(gradient_noise)
        return Energy(
            n_beta * self.base.hessian + gamma * np.eye(size),
            n_beta * self.base.slope,
            n_beta**2 * noise.reshape(size, size),
        )

    def restrict(self, component: Sequence[int]) -> "Quadratic":
        """The system in which only the weights ``component`` move, the others held at w*."""
        index = _checked(component, self.anchor.size)
        return Quadratic(
            self.tokens.restrict(index), self.anchor[index], (("component", len(index)),)
        )


@lru_cache(maxsize=32)
def _tables(system: Quadratic, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Token tables as tensors, kept so that a chain does not copy them at every step."""
    tokens = system.tokens
    arrays = (tokens.hessian, tokens.slope, tokens.constant, system.anchor)
    return tuple(torch.as_tensor(array, dtype=dtype, device=device) for array in arrays)


def _checked(component: Sequence[int], size: int) -> list[int]:
    """Indices of a component, refused when empty, repeated or out of range."""
    index = [int(i) for i in component]
    if not index or len(set(index)) < len(index) or min(index) < 0 or max(index) >= size:
        raise ComponentError(
            "not a set of weights", where="gaussian.Quadratic.restrict", value=index,
            why=f"a component is a non-empty set of indices below {size}",
            do="list every index once",
        )
    return index


def posterior(system: Quadratic, n_beta: float, gamma: float) -> Law:
    """Exact local posterior N(mu, Sigma) of the displacement (Gaussian integral)."""
    return system.energy(n_beta, gamma).law


def llc(system: Quadratic, law: Law, n_beta: float) -> float:
    """Learning coefficient ``n_beta (E[L] - L(w*))`` under a law of the weights (Lau et al. 2023).

    On a restricted system it is the refined coefficient of the component (Wang et al. 2024).
    """
    return n_beta * float(system.base.mean(law) - system.base.constant)


def susceptibility(system: Quadratic, law: Law, observable: Form | None = None) -> Array:
    """Within-run susceptibility ``-Cov[phi, l_x - L]`` of every token [X], in nats².

    phi is ``observable``, by default the base loss (Baker et al. 2025). With the posterior this is
    ``-½ tr(H Sigma B Sigma) - (H mu + r)' Sigma (B mu + q)``; with the stationary law of a sampler
    it is what the covariance estimator converges to.
    """
    phi = system.base if observable is None else observable
    return -phi.covariance(system.perturbations, law)


def two_run_susceptibility(
    system: Quadratic, law: Law, component: Sequence[int], *, component_law: Law
) -> Array:
    """Two-run susceptibility ``-(E_C[g f] - E_C[g] E_F[f])`` of every token [X], in nats².

    The estimator of Baker et al. 2025: ``chi_w - E_C[g] (E_C[f] - E_F[f])``; ``law`` is that of
    all weights, ``component_law`` that of the restricted run.
    """
    block = system.restrict(component)
    value = float(block.base.mean(component_law) - block.base.constant)
    shift = block.perturbations.mean(component_law) - system.perturbations.mean(law)
    return susceptibility(block, component_law) - value * shift


def component_susceptibility(
    system: Quadratic, component: Sequence[int], n_beta: float, *, gamma: float
) -> Array:
    """Susceptibility of ``delta(u - u*) (L - L(w*))`` under the full posterior [X] (Baker et al. 2025).

    Equals ``Z_C / Z_F`` times the two-run value; the ratio is known here, not in a network. Its
    unit is nats² per weight for every weight outside the component.
    """
    block = system.restrict(component).energy(n_beta, gamma)
    full = system.energy(n_beta, gamma)
    two_run = two_run_susceptibility(system, full.law, component, component_law=block.law)
    return math.exp(block.log_normaliser - full.log_normaliser) * two_run


def component_loss(system: Quadratic, component: Sequence[int]) -> Form:
    """L with all weights outside the component put back to w*, as a function of all weights.

    A smooth observable: ``susceptibility(system, law, component_loss(...))`` is the answer of one
    block, under a law in which every block moves, to every token.
    """
    keep = np.zeros(system.anchor.size)
    keep[_checked(component, system.anchor.size)] = 1.0
    base = system.base
    return Form(base.hessian * np.outer(keep, keep), base.slope * keep, base.constant)


def influence(system: Quadratic, law: Law, observable: Form) -> Array:
    """Bayesian influence ``-Cov[l_i, phi]`` of every token on an observable (Kreer et al. 2025).

    Shapes:
        observable  *event
        returns     X *event    nats times the unit of phi
    """
    return -system.tokens.covariance(observable, law)


def fixture() -> Quadratic:
    """Two weights with H = [[2, .5], [.5, 1]], r = (.1, -.2); token 0 has A = [[5, -1], [-1, 3]],
    t = (.4, .3) and token 1 is its mirror image, so that the mean is exact.
    """
    hessian, slope = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([0.1, -0.2])
    curve, tilt = np.array([[5.0, -1.0], [-1.0, 3.0]]), np.array([0.4, 0.3])
    tokens = Form(
        np.stack([curve, 2 * hessian - curve]), np.stack([tilt, 2 * slope - tilt]), np.zeros(2)
    )
    return Quadratic(tokens, np.zeros(2), (("first", 1), ("second", 1)))
