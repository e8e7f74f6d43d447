"""dh under limits on the weights: the convex program, solved in its small dual with scipy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from susceptometer.errors import RecipeError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a plan may do to the data.

    Args:
        lowest: Least weight of a datum (0: no negative weights; -inf: any). 1 allows only more of a datum.
        highest: Largest weight of a datum. 1 allows only less of a datum.
        budget: Largest share of the training distribution that may be moved, ``sum |dh| / 2``; None: any.
        mass: Keep ``sum dh = 0``, so that the mean weight stays one.
        slack: How much the response may miss, relative: the penalty is ``|chi dh - wanted|^2 / (2 slack kappa_1)``.

    Raises:
        RecipeError: The limits exclude the weight one, or a number is out of range.
    """

    lowest: float = 0.0
    highest: float = 5.0
    budget: float | None = None
    mass: bool = True
    slack: float = 1e-4

    def __post_init__(self) -> None:
        if not (self.lowest <= 1 <= self.highest) or self.slack <= 0 or (self.budget or 0) < 0:
            raise RecipeError(
                "limits must allow the weight one",
                where="Limits",
                value=self,
                why="weight one is unchanged data, from which every plan starts",
                do="use lowest <= 1 <= highest, slack > 0 and budget >= 0",
            )


def within(chi: Array, wanted: Array, share: Array, limits: Limits) -> Array:
    r"""dh of least norm that gives the response ``wanted`` as well as the limits allow.

        minimise    1/2 |dh|^2 + |chi dh - wanted|^2 / (2 r)
        subject to  (lowest - 1) share <= dh <= (highest - 1) share,  sum dh = 0,  sum |dh| <= 2 budget

    Its dual has one variable per observable and two more, whatever the number of data:
    dh = clip(soft(chi' y + nu, tau)), which is found with L-BFGS-B and its exact gradient (derived).

    Args:
        chi: ``[observables, data]``.
        wanted: ``[observables]``.
        share: Of each datum in the base distribution ``[data]``; data from outside (0) may only be added.
        limits: What is allowed.
    """
    scale = np.sqrt(max(float(np.linalg.eigvalsh(chi @ chi.T)[-1]), 1e-300))
    size = max(float(np.linalg.norm(wanted)) / scale, 1e-300)
    program = _Program(chi / scale, wanted / (scale * size), share / size, limits)
    budget = np.inf if limits.budget is None else 2 * limits.budget / size
    start = np.zeros(len(wanted) + 2)
    free = (None, None)
    bounds = [*[free] * len(wanted), free if limits.mass else (0, 0), (0, None if np.isfinite(budget) else 0)]
    found = minimize(
        program.dual,
        start,
        args=(budget,),
        jac=True,
        bounds=bounds,
        method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-9},
    )
    return size * program.primal(found.x)


@dataclass(frozen=True, eq=False)
class _Program:
    chi: Array
    wanted: Array
    share: Array
    limits: Limits

    def primal(self, dual: Array) -> Array:
        """dh at dual variables (y, nu, tau)."""
        pull = dual[:-2] @ self.chi + dual[-2]
        soft = np.sign(pull) * np.maximum(np.abs(pull) - dual[-1], 0.0)
        inside = self.share > 0
        low = np.where(inside, (self.limits.lowest - 1) * np.where(inside, self.share, 1), 0.0)
        high = np.where(inside, (self.limits.highest - 1) * np.where(inside, self.share, 1), np.inf)
        return np.clip(soft, low, high)

    def dual(self, dual: Array, budget: float) -> tuple[float, Array]:
        """Minus the dual function and its gradient."""
        h, y, tau = self.primal(dual), dual[:-2], dual[-1]
        size = float(np.abs(h).sum())
        limit = budget if np.isfinite(budget) else 0.0
        miss = self.wanted - self.chi @ h - self.limits.slack * y
        value = 0.5 * h @ h + y @ (self.wanted - self.chi @ h) - dual[-2] * h.sum() + tau * (size - limit)
        value -= 0.5 * self.limits.slack * y @ y
        gradient = np.concatenate([miss, [-h.sum()], [size - limit]])
        return -float(value), -gradient
