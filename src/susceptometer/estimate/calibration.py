"""What a calibration aims at and what it reports, in numbers and in one paragraph of words."""

from dataclasses import dataclass, replace

import numpy as np

from susceptometer.estimate.contraction import Contraction
from susceptometer.estimate.estimate import Estimate
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.recipe import Recipe
from susceptometer.sampling.sgld import LeimkuhlerMatthews


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What the recipe is for.

    Args:
        n_beta: Effective inverse temperature; fixed by the question, never tuned.
        gamma: Pull to w*; None takes the smallest that keeps every seen direction confined.
        sampler: ``LeimkuhlerMatthews`` or ``SGLD``.
        coupling: How chains share randomness.
        groups: Independent groups.
        batch_rows: Rows per step; None for all.
        relative_error: Error aimed at, relative to the learning coefficient.
    """

    n_beta: float
    gamma: float | None
    sampler: type = LeimkuhlerMatthews
    coupling: Coupling = Coupling(h=0.1)
    groups: int = 8
    batch_rows: int | None = None
    relative_error: float = 0.05


@dataclass(frozen=True)
class Calibration:
    """A recipe and why.

    Args:
        recipe: Ready to run.
        component: What it was calibrated on.
        curvature: Largest and smallest curvature of L seen, at w* and at pilot draws.
        gaussian_llc: Quadratic prediction of the learning coefficient: continuum, and at this step size.
        heating: eps n_beta^2 G/4 of the mini-batch noise where the chains go, mean over weights (0: full batches).
        mixing: Autocorrelation time of the loss, in kept draws.
        step_bias: Relative step bias of the learning coefficient: quadratic prediction, measured by steps eps and
            eps/2 on the same noise, its error.
        response_bias: The same for susceptibilities: of the coupled response over the base tokens, or without response
            arms of Var(L); measured, its error.
        drift: Second minus first half of the pilot's loss, as a normal score.
        llc: Pilot value and error.
        pilot_groups: Groups behind the pilot's errors (t with one less).
        expected_error: Error of the learning coefficient that the recipe is expected to reach.
        expected_noise: Expected error of a token's coupled response over the spread of the column; NaN without arms.
        contraction: Verdict on the coupled pilot; None without response arms.
    """

    recipe: Recipe
    component: str
    curvature: tuple[float, float]
    gaussian_llc: tuple[float, float]
    heating: float
    mixing: float
    step_bias: tuple[float, float, float]
    response_bias: tuple[float, float]
    drift: float
    llc: tuple[float, float]
    pilot_groups: int
    expected_error: float
    expected_noise: float
    contraction: Contraction | None

    def without_step_bias(self, estimate: Estimate) -> Estimate:
        """The continuum value: an estimate made with this recipe over 1 + the measured step bias, errors combined.

        Degrees of freedom of the combined error are Welch and Satterthwaite's (satterthwaite1946), the least over entries.

        Args:
            estimate: A learning coefficient or susceptibility of the component that was calibrated.
        """
        bias, error = self.step_bias[1:] if estimate.name == "llc" else self.response_bias
        value = estimate.value / (1 + bias)
        own, other = (estimate.error / (1 + bias)) ** 2, (value * error / (1 + bias)) ** 2
        total = own + other
        freedom = total**2 / (own**2 / (estimate.groups - 1) + other**2 / (self.pilot_groups - 1) + 1e-300)
        data = estimate.data.assign(value=value, error=np.sqrt(total))
        return replace(estimate, data=data, groups=1 + max(1, int(freedom.min())))

    def __repr__(self) -> str:
        return f"{self._choice()} {self._reasons()} {self._biases()} {self._pilot()}"

    def _choice(self) -> str:
        r = self.recipe
        thin = f" every {r.schedule.thin} steps" if r.schedule.thin > 1 else ""
        return (
            f"{self.component}: {type(r.sampler).__name__} with step_size {r.sampler.step_size:.3g}, burn_in "
            f"{r.schedule.burn_in}, {r.schedule.draws} draws{thin} x {r.schedule.groups} groups."
        )

    def _reasons(self) -> str:
        r, (top, bottom) = self.recipe, self.curvature
        pull, push = r.gamma, r.n_beta * top
        ruler = "gamma dominates" if pull > push else "n_beta x curvature dominates"
        return (
            f"Curvature of L runs from {bottom:.3g} to {top:.3g}, so U's stiffest direction is n_beta h + gamma = "
            f"{push + pull:.4g} ({ruler}; eps P_max/2 = {r.sampler.step_size * (push + pull) / 2:.2f}) and its softest "
            f"{pull + r.n_beta * bottom:.4g}, which the burn-in forgets to 98 %."
        )

    def _biases(self) -> str:
        predicted, measured, error = self.step_bias
        response, response_error = self.response_bias
        return (
            f"Step bias of the learning coefficient: {predicted:+.1%} by the quadratic law, {measured:+.1%} ± "
            f"{error:.1%} by eps against eps/2 on the same noise; of susceptibilities {response:+.1%} ± "
            f"{response_error:.1%}; mini-batch heating {self.heating:.1%}."
        )

    def _pilot(self) -> str:
        (value, error), coupled = self.llc, self.contraction
        verdict = ""
        if coupled is not None:
            verdict = (
                " The coupled arms contract (values at h and h/2 agree); a token's response should have an error of "
                f"{self.expected_noise:.0%} of the spread of its column."
            )
            if coupled.faults:
                verdict = f" Response arms were dropped, since they do not contract: {'; '.join(coupled.faults)}."
        return (
            f"Mixing time {self.mixing:.1f} draws; drift {self.drift:+.1f} errors; pilot LLC {value:.3g} ± {error:.2g} "
            f"(quadratic {self.gaussian_llc[0]:.3g}), expected error {self.expected_error:.2g}.{verdict}"
        )
