r"""Two weights of a logistic model: exact answers where the posterior is not normal.

l_x(w) = log(1 + exp(-y_x (b_x + z_x . w))): z_x [2] are the inputs to the two free weights, b_x is
what the frozen rest of the model adds, y_x = +-1 the label. All answers are sums over a grid.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from susceptometer.errors import DataError
from susceptometer.testbed.form import Array
from susceptometer.testbed.quadrature import Grid
from susceptometer.types import Batch, Params

SPAN, POINTS = 5.0, 161  # sinh-spaced grid: ±74 standard deviations of the normal approximation


@dataclass(frozen=True, eq=False, kw_only=True)
class Logistic:
    """A two-weight logistic block.

    Args:
        features: z [X, 2].
        offsets: b [X], the frozen part of the logit.
        labels: y [X], each +1 or -1.
        anchor: w* [2]; it need not be a minimum.

    Raises:
        DataError: Shapes do not agree or a label is not +-1.
    """

    features: Array
    offsets: Array
    labels: Array
    anchor: Array

    def __post_init__(self) -> None:
        tokens = len(self.labels)
        shapes = self.features.shape, self.offsets.shape, self.anchor.shape
        if shapes != ((tokens, 2), (tokens,), (2,)) or not np.all(np.abs(self.labels) == 1):
            raise DataError(
                "not a logistic block",
                where="logistic.Logistic",
                value=shapes,
                why="it needs features [X, 2], offsets [X], labels [X] of +-1 and an anchor [2]",
                do="reshape the arrays or recode the labels",
            )

    @property
    def center(self) -> Params:
        """w* = ``{"w": [2]}``, float64."""
        return {"w": torch.as_tensor(self.anchor, dtype=torch.float64).clone()}

    @property
    def data(self) -> Batch:
        """Every token once, ``{"index": [X]}``."""
        return {"index": torch.arange(len(self.labels))}

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """Token losses of ``batch["index"]`` in nats -> the same shape."""
        weights, index = params["w"], batch["index"]
        features, offsets, labels = (
            torch.as_tensor(part).to(weights)[index] for part in (self.features, self.offsets, self.labels)
        )
        return torch.nn.functional.softplus(-labels * (offsets + features @ weights))

    def losses(self, weights: Array) -> Array:
        """Token losses [..., X] at weights [..., 2], in nats."""
        return np.logaddexp(0.0, -self.labels * (self.offsets + weights @ self.features.T))

    def posterior(self, n_beta: float, gamma: float) -> "GridLaw":
        """The exact local posterior on a grid around its mode, gamma > 0."""
        mode, curvature = _mode(self, n_beta, gamma)
        scale = np.linalg.inv(np.linalg.cholesky(curvature)).T
        step = np.linspace(-SPAN, SPAN, POINTS)
        x, y = np.meshgrid(np.sinh(step), np.sinh(step), indexing="ij")
        nodes = mode + np.stack([x.ravel(), y.ravel()], axis=1) @ scale.T
        widths = np.log(np.outer(np.cosh(step), np.cosh(step))).ravel()
        losses = self.losses(nodes)
        pull = gamma / 2 * np.sum((nodes - self.anchor) ** 2, axis=1)
        grid = Grid(nodes, widths)
        probabilities = grid.probabilities(n_beta * losses.mean(1) + pull)
        return GridLaw(
            nodes=nodes,
            probabilities=probabilities,
            losses=losses,
            at_center=self.losses(self.anchor),
            n_beta=n_beta,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class GridLaw:
    """A posterior as probabilities on nodes, with the token losses there.

    Shapes:
        nodes          node 2
        probabilities  node
        losses         node X    nats
        at_center      X         nats, the losses at w*
    """

    nodes: Array
    probabilities: Array
    losses: Array
    at_center: Array
    n_beta: float

    @property
    def token_means(self) -> Array:
        """E[l_x] for every token [X], nats."""
        return self.probabilities @ self.losses

    @property
    def llc(self) -> float:
        """``n_beta (E[L] - L(w*))``: refined learning coefficient of the block (wang2024)."""
        return self.n_beta * float(np.mean(self.token_means - self.at_center))

    @property
    def influence(self) -> Array:
        """``-Cov[l_i, l_j]`` [X, X], nats² (kreer2025)."""
        centred = self.losses - self.token_means
        return -(centred * self.probabilities[:, None]).T @ centred

    @property
    def susceptibility(self) -> Array:
        """Within-run ``-Cov[L, l_x - L]`` of every token [X], nats² (baker2025)."""
        total = self.influence.mean(0)
        return total - total.mean()


def pair_susceptibility(model: Logistic, n_beta: float, gamma: float, *, offset: float) -> Array:
    """``(E_+[l_x - L] - E_-[l_x - L]) / (2 d)`` at n_beta +- d: exact finite-h pair value [X]."""
    plus, minus = (model.posterior(n_beta + d, gamma).token_means for d in (offset, -offset))
    difference = (plus - minus) / (2 * offset)
    return difference - difference.mean()


def random_logistic(seed: int, *, tokens: int, scale: float) -> Logistic:
    """A random block: features ~ scale N(0, I), offsets ~ N(0, 1), labels from the model at w*."""
    generator = np.random.default_rng(seed)
    features = scale * generator.standard_normal((tokens, 2))
    offsets, anchor = generator.standard_normal(tokens), generator.standard_normal(2)
    chance = 1 / (1 + np.exp(-offsets - features @ anchor))
    labels = np.where(generator.random(tokens) < chance, 1.0, -1.0)
    return Logistic(features=features, offsets=offsets, labels=labels, anchor=anchor)


def _mode(model: Logistic, n_beta: float, gamma: float) -> tuple[Array, Array]:
    """Mode of the posterior by Newton's method and the Hessian of U there (U is convex)."""
    weights = model.anchor.copy()
    for _ in range(50):
        logits = model.labels * (model.offsets + model.features @ weights)
        wrong = 1 / (1 + np.exp(logits))
        slope = -n_beta * np.mean((model.labels * wrong)[:, None] * model.features, axis=0)
        spread = (wrong * (1 - wrong))[:, None] * model.features
        curvature = n_beta * spread.T @ model.features / len(wrong) + gamma * np.eye(2)
        move = np.linalg.solve(curvature, slope + gamma * (weights - model.anchor))
        weights = weights - move
        if np.abs(move).max() < 1e-12:
            break
    return weights, curvature
