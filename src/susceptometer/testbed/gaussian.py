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
from torch import Tensor

from susceptometer.errors import ComponentError, DataError
from susceptometer.testbed.form import Array, Energy, Form, Law
from susceptometer.types import Batch, Params


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
                "sizes do not agree",
                where="gaussian.Quadratic",
                value=sizes,
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

    @property
    def data(self) -> Batch:
        """Every token once, ``{"index": [X]}``: the mean loss over it is the base loss."""
        return {"index": torch.arange(len(self.tokens.constant))}

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
        return Quadratic(self.tokens.restrict(index), self.anchor[index], (("component", len(index)),))


@lru_cache(maxsize=32)
def _tables(system: Quadratic, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Token tables as tensors, kept so that a chain does not copy them at every step."""
    tokens = system.tokens
    arrays = (tokens.hessian, tokens.slope, tokens.constant, system.anchor)
    with torch.inference_mode(False):  # the first caller may be in inference mode, the next not
        return tuple(torch.tensor(array, dtype=dtype, device=device) for array in arrays)


def _checked(component: Sequence[int], size: int) -> list[int]:
    """Indices of a component, refused when empty, repeated or out of range."""
    index = [int(i) for i in component]
    if not index or len(set(index)) < len(index) or min(index) < 0 or max(index) >= size:
        raise ComponentError(
            "not a set of weights",
            where="gaussian.Quadratic.restrict",
            value=index,
            why=f"a component is a non-empty set of indices below {size}",
            do="list every index once",
        )
    return index


def posterior(system: Quadratic, n_beta: float, gamma: float) -> Law:
    """Exact local posterior N(mu, Sigma) of the displacement (Gaussian integral)."""
    return system.energy(n_beta, gamma).law


def llc(system: Quadratic, law: Law, n_beta: float) -> float:
    """Learning coefficient ``n_beta (E[L] - L(w*))`` under a law of the weights (lau2023).

    On a restricted system it is the refined coefficient of the component (wang2024).
    """
    return n_beta * float(system.base.mean(law) - system.base.constant)


def susceptibility(system: Quadratic, law: Law, observable: Form | None = None) -> Array:
    """Within-run susceptibility ``-Cov[phi, l_x - L]`` of every token [X], in nats².

    phi is ``observable``, by default the base loss (baker2025). With the posterior this is
    ``-½ tr(H Sigma B Sigma) - (H mu + r)' Sigma (B mu + q)``; with the stationary law of a sampler
    it is what the covariance estimator converges to.
    """
    phi = system.base if observable is None else observable
    return -phi.covariance(system.perturbations, law)


def two_run_susceptibility(system: Quadratic, law: Law, component: Sequence[int], *, component_law: Law) -> Array:
    """Two-run susceptibility ``-(E_C[g f] - E_C[g] E_F[f])`` of every token [X], in nats².

    The estimator of baker2025: ``chi_w - E_C[g] (E_C[f] - E_F[f])``; ``law`` is that of
    all weights, ``component_law`` that of the restricted run.
    """
    block = system.restrict(component)
    value = float(block.base.mean(component_law) - block.base.constant)
    shift = block.perturbations.mean(component_law) - system.perturbations.mean(law)
    return susceptibility(block, component_law) - value * shift


def component_susceptibility(system: Quadratic, component: Sequence[int], n_beta: float, *, gamma: float) -> Array:
    """Susceptibility of ``delta(u - u*) (L - L(w*))`` under the full posterior [X] (baker2025).

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
    """Bayesian influence ``-Cov[l_i, phi]`` of every token on an observable (kreer2025).

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
    tokens = Form(np.stack([curve, 2 * hessian - curve]), np.stack([tilt, 2 * slope - tilt]), np.zeros(2))
    return Quadratic(tokens, np.zeros(2), (("first", 1), ("second", 1)))


def random_quadratic(
    seed: int, *, sizes: Sequence[int], tokens: int, spread: float, equal_curvature: bool = False
) -> Quadratic:
    """A random system with parameters ``block0``, ``block1``, ... of the given sizes.

    The base Hessian has eigenvalues log-uniform in [0.05, 4] in a random basis; token Hessians and
    slopes scatter around it and their means are exactly H and r (to rounding).

    Args:
        seed: Of a private generator.
        sizes: Number of weights of each block.
        tokens: Number of tokens X.
        spread: Scale of the scatter of A_x and t_x between tokens; the slope r has the same scale.
        equal_curvature: A_x = H for every token, so the mini-batch gradient noise is the same
            everywhere and not only at w*.
    """
    generator = np.random.default_rng(seed)
    size = int(sum(sizes))
    basis = np.linalg.qr(generator.standard_normal((size, size)))[0]
    curvatures = np.exp(generator.uniform(np.log(0.05), np.log(4.0), size))
    slope = spread * generator.standard_normal(size) / math.sqrt(size)
    table = Form(
        _centred(generator, (tokens, size, size), 0.0 if equal_curvature else spread) + (basis * curvatures) @ basis.T,
        slope + _centred(generator, (tokens, size), spread),
        generator.uniform(0.0, 1.0, tokens),
    )
    parts = tuple((f"block{i}", int(n)) for i, n in enumerate(sizes))
    return Quadratic(table, generator.standard_normal(size), parts)


def _centred(generator: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Normal entries of mean exactly zero over tokens; symmetric where the shape is a matrix."""
    scatter = scale * generator.standard_normal(shape) / math.sqrt(shape[-1])
    scatter = (scatter + np.swapaxes(scatter, -1, -2)) / 2 if len(shape) == 3 else scatter
    return scatter - scatter.mean(0)
