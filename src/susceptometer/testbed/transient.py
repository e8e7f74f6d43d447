r"""SGLD on a quadratic valley, one curvature at a time: all biases, variances and transients.

L = L* + ½ sum_i h_i v_i² with r = 0. Per direction, with p = n_beta h + gamma, M = 1 - eps p/2 and
y = eps n_beta² G/4 (G = variance of the mini-batch gradient at w*), all derived:

    posterior variance   1/p
    chain variance       s = (1 + y) / (p (1 - eps p/4))
    after t steps        s (1 - M^{2t})           from w*
    autocorrelation      M² per step              of v²

Signs: a finite step raises the learning coefficient, gradient noise raises it, gamma lowers it.
They can cancel; never tune one against another.
"""

import math
from dataclasses import dataclass

import numpy as np

from susceptometer.errors import RecipeError
from susceptometer.testbed.form import Array


@dataclass(frozen=True, eq=False, kw_only=True)
class ValleyRun:
    """SGLD at a finite step in a valley with the given curvatures.

    Args:
        curvatures: h [D], nats/weight².
        n_beta: 1/nats.
        gamma: 1/weight².
        step_size: eps, weight².
        gradient_noise: G [D], variance of the mini-batch gradient of L per direction; None: full
            batch.

    Raises:
        RecipeError: eps p lies outside (0, 4) in some direction.
    """

    curvatures: Array
    n_beta: float
    gamma: float
    step_size: float
    gradient_noise: Array | None = None

    def __post_init__(self) -> None:
        stiffness = self.step_size * self.precisions
        if stiffness.min() <= 0 or stiffness.max() >= 4:
            raise RecipeError(
                "SGLD is unstable",
                where="transient.ValleyRun",
                value=(float(stiffness.min()), float(stiffness.max())),
                why="step_size times every curvature of U must lie between 0 and 4",
                do="lower step_size, or raise gamma if a curvature is negative",
            )

    @property
    def precisions(self) -> Array:
        """p [D] = n_beta h + gamma, the curvatures of U."""
        return self.n_beta * np.asarray(self.curvatures, dtype=np.float64) + self.gamma

    @property
    def contractions(self) -> Array:
        """M [D] = 1 - eps p/2, what one step leaves of a displacement."""
        return 1 - self.step_size / 2 * self.precisions

    @property
    def variances(self) -> Array:
        """s [D], the stationary variance of the chain; weight²."""
        noise = 0.0 if self.gradient_noise is None else np.asarray(self.gradient_noise)
        heating = 1 + self.step_size * self.n_beta**2 * noise / 4
        return heating / (self.precisions * (1 - self.step_size * self.precisions / 4))

    @property
    def posterior_llc(self) -> float:
        """``sum n_beta h / (2 p)``: the limit of small steps (lau2023)."""
        return float(np.sum(self.n_beta * np.asarray(self.curvatures) / (2 * self.precisions)))

    @property
    def shares(self) -> Array:
        """Contribution of every direction to the stationary learning coefficient, [D]."""
        return self.n_beta * np.asarray(self.curvatures) * self.variances / 2

    @property
    def llc(self) -> float:
        """``sum n_beta h s / 2``: what the stationary chain returns."""
        return float(self.shares.sum())

    def llc_at(self, step: int) -> float:
        """Expected value of the draw ``step`` steps after w*: shares times ``1 - M^{2t}``."""
        return float(np.sum(self.shares * (1 - self.contractions ** (2 * step))))

    def window_llc(self, *, burn_in: int, draws: int) -> float:
        """Expected mean of the ``draws`` draws after ``burn_in`` steps from w*.

        Shares times ``1 - (M^{2(B+1)} - M^{2(B+K+1)}) / ((1 - M²) K)``.
        """
        square = self.contractions**2
        missing = square ** (burn_in + 1) * (1 - square**draws) / ((1 - square) * draws)
        return float(np.sum(self.shares * (1 - missing)))

    @property
    def draw_sd(self) -> float:
        """Standard deviation of n_beta (L - L*) at one stationary draw."""
        return math.sqrt(2 * float(np.sum(self.shares**2)))

    def autocorrelation(self, lag: int) -> float:
        """Correlation of the loss ``lag`` steps apart: the mean of ``M^{2 lag}`` by variance."""
        weights = self.shares**2
        return float(np.sum(weights * self.contractions ** (2 * lag)) / weights.sum())

    def mean_error(self, *, chains: int, draws: int) -> float:
        """Standard error of the stationary mean over C chains of T consecutive draws.

        ``Var = (1/(C T)) sum 2 share² (1 + M²)/(1 - M²)``, for T well above 1/(eps p).
        """
        square = self.contractions**2
        variance = 2 * np.sum(self.shares**2 * (1 + square) / (1 - square))
        return math.sqrt(float(variance) / (chains * draws))
