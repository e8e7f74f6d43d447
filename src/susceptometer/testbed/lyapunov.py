r"""The exact law of every linear sampler at a finite step.

On a quadratic U a sampler without accept/reject is a linear recursion of its state,

    z' = A z + b + noise,    Cov[noise] = Q,    z = (v, momentum or old noise, ...)

so the stationary covariance solves S = A S A' + Q (discrete Lyapunov equation), the lagged one is
A^k S, and transients follow by iteration. Nothing here is asymptotic in the step size.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from susceptometer.errors import RecipeError
from susceptometer.testbed.form import Array, Energy, Form, Law


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearChain:
    """A sampler's recursion on a quadratic; the first ``weights`` entries of the state are v.

    Shapes:
        transition  S S    A
        drift       S      b
        noise       S S    Q
        start       S S    covariance of the state at w* (mean zero): fresh momenta, first noise
    """

    transition: Array
    drift: Array
    noise: Array
    start: Array
    weights: int

    @property
    def radius(self) -> float:
        """Largest factor by which a deviation grows per step; the chain is stable below 1."""
        return float(np.abs(np.linalg.eigvals(self.transition)).max())

    def state_law(self) -> Law:
        """Stationary mean and covariance of the whole state.

        Raises:
            RecipeError: The chain is unstable at this step size.
        """
        if self.radius >= 1:
            raise RecipeError(
                "the sampler is unstable",
                where="lyapunov.LinearChain",
                value=self.radius,
                why="deviations from the mean grow by this factor per step",
                do="lower step_size, or raise gamma if a curvature is negative",
            )
        mean = np.linalg.solve(np.eye(self.drift.size) - self.transition, self.drift)
        return Law(np.asarray(mean, dtype=np.float64), solve_discrete_lyapunov(self.transition, self.noise))

    def law(self) -> Law:
        """Stationary law of the displacement v."""
        return self._marginal(self.state_law())

    def lagged(self, lag: int) -> Array:
        """Stationary covariance of v after ``lag`` steps with v now, [D, D] in weight²."""
        moved = np.linalg.matrix_power(self.transition, lag) @ self.state_law().covariance
        return moved[: self.weights, : self.weights]

    def states(self) -> Iterator[Law]:
        """Laws of the whole state after 0, 1, 2, ... steps from w*, without end."""
        law = Law(np.zeros_like(self.drift), self.start)
        while True:
            yield law
            covariance = self.transition @ law.covariance @ self.transition.T + self.noise
            law = Law(self.transition @ law.mean + self.drift, covariance)

    def law_at(self, step: int) -> Law:
        """Law of v after ``step`` steps from w*."""
        return self._marginal(next(law for t, law in enumerate(self.states()) if t == step))

    def window_mean(self, form: Form, *, burn_in: int, draws: int) -> Array:
        """Expected average of a quadratic over the ``draws`` steps after ``burn_in``, from w*."""
        total = np.zeros_like(form.constant)
        for step, law in enumerate(self.states()):
            if step > burn_in:
                total = total + form.mean(self._marginal(law))
            if step == burn_in + draws:
                return np.asarray(total / draws)
        raise AssertionError("states() does not end")

    def autocovariance(self, form: Form, lags: int) -> Array:
        """Stationary autocovariances of a quadratic at lag 0 .. ``lags`` - 1 -> [lags].

        ``½ tr(A C A C') + g' C g`` with C the lagged covariance and g the gradient at the mean.
        """
        state, keep = self.state_law(), slice(self.weights)
        gradient = form.gradient(state.mean[keep])
        moved, values = state.covariance, np.empty(lags)
        for lag in range(lags):
            lagged = moved[keep, keep]
            curved = np.sum((form.hessian @ lagged @ form.hessian) * lagged)
            values[lag] = 0.5 * curved + gradient @ lagged @ gradient
            moved = self.transition @ moved
        return values

    def mean_error(self, form: Form, *, chains: int, draws: int) -> float:
        """Standard error of a quadratic averaged over stationary chains and consecutive draws.

        ``Var = (1/(C T)) sum_k (1 - |k|/T) c_k`` over all lags k (exact for a stationary series).
        """
        values = self.autocovariance(form, draws)
        weights = 2 * (1 - np.arange(draws) / draws)
        weights[0] = 1
        return math.sqrt(float(weights @ values) / (chains * draws))

    def _marginal(self, law: Law) -> Law:
        keep = slice(self.weights)
        return Law(law.mean[keep], law.covariance[keep, keep])


def sgld(energy: Energy, step_size: float) -> LinearChain:
    """SGLD, ``w' = w - (eps/2) grad U + sqrt(eps) xi`` (welling2011).

    Stationary covariance (P - (eps/4) P²)⁻¹ with full-batch gradients; stable for 0 < eps P < 4.
    """
    size = energy.slope.size
    return LinearChain(
        transition=np.eye(size) - step_size / 2 * energy.precision,
        drift=-step_size / 2 * energy.slope,
        noise=step_size * np.eye(size) + step_size**2 / 4 * energy.noise,
        start=np.zeros((size, size)),
        weights=size,
    )


def leimkuhler_matthews(energy: Energy, step_size: float) -> LinearChain:
    """SGLD with averaged noise, ``w' = w - (eps/2) grad U + sqrt(eps) (xi + xi')/2``.

    xi' is the next step's xi (leimkuhler2013, their non-Markovian scheme). The state is
    (v, xi). With full-batch gradients the stationary covariance is P⁻¹ at EVERY stable step
    (derived: Cov[v, xi] = sqrt(eps)/2, so S = M S M + (eps/2)(1 + M) = P⁻¹); the means of all
    quadratics, and so its pathwise response, are those of the continuum.
    """
    size = energy.slope.size
    one, none, half = np.eye(size), np.zeros((size, size)), math.sqrt(step_size) / 2 * np.eye(size)
    heating = step_size**2 / 4 * energy.noise
    return LinearChain(
        transition=np.block([[one - step_size / 2 * energy.precision, half], [none, none]]),
        drift=np.concatenate([-step_size / 2 * energy.slope, np.zeros(size)]),
        noise=np.block([[step_size / 4 * one + heating, half], [half, one]]),
        start=np.block([[none, none], [none, one]]),
        weights=size,
    )


def sghmc(energy: Energy, step_size: float, alpha: float) -> LinearChain:
    """SGHMC, ``p' = (1 - alpha) p - eps grad U + sqrt(2 alpha eps) xi; w' = w + p'`` (chen2014).

    State (v, p), at rest at the start. Per direction P Var(w) = 1/(1 - eps P/(2 (2 - alpha))); stable for
    eps P < 2 (2 - alpha) (derived).
    """
    size = energy.slope.size
    one, kept = np.eye(size), (1 - alpha) * np.eye(size)
    pull = step_size * energy.precision
    kick = 2 * alpha * step_size * one + step_size**2 * energy.noise
    return LinearChain(
        transition=np.block([[one - pull, kept], [-pull, kept]]),
        drift=-step_size * np.concatenate([energy.slope, energy.slope]),
        noise=np.block([[kick, kick], [kick, kick]]),
        start=np.zeros((2 * size, 2 * size)),
        weights=size,
    )


def sgnht(energy: Energy, step_size: float, thermostat: float, *, diffusion: float) -> LinearChain:
    """SGNHT with its thermostat frozen at z (ding2014).

    ``p' = p - h grad U - h z p + sqrt(2 A h) xi; w' = w + h p'`` with h = ``step_size``,
    z = ``thermostat``, A = ``diffusion``; state (v, p), p_0 ~ N(0, I). The same walk as SGHMC with
    eps = h², alpha = h z and noise scaled by A/z: P Var(w) = (A/z)/(1 - h² P/(2 (2 - h z))) (derived).
    """
    size = energy.slope.size
    one, kept = np.eye(size), (1 - step_size * thermostat) * np.eye(size)
    kick = 2 * diffusion * step_size * one + step_size**2 * energy.noise
    none, h = np.zeros((size, size)), step_size
    return LinearChain(
        transition=np.block([[one - h * h * energy.precision, h * kept], [-h * energy.precision, kept]]),
        drift=-h * np.concatenate([h * energy.slope, energy.slope]),
        noise=np.block([[h * h * kick, h * kick], [h * kick, kick]]),
        start=np.block([[none, none], [none, one]]),
        weights=size,
    )
