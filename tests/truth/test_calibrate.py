"""Calibration: curvature, refusals, words, and learning coefficients right within their own errors."""

import numpy as np
import pytest
import torch

from exact_subject import K, noisy_subject, read, subject
from susceptometer.errors import RecipeError
from susceptometer.estimate.calibrate import Aim, calibrate
from susceptometer.estimate.convergence import skewness
from susceptometer.estimate.curvature import spectrum
from susceptometer.estimate.llc import llc
from susceptometer.posterior.local import LocalPosterior
from susceptometer.estimate.susceptibility import susceptibility_coupled
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.sgld import SGLD
from susceptometer.testbed import crossing, gaussian, lyapunov
from susceptometer.testbed.form import Form


def valley(curvatures):
    h = np.asarray(curvatures, dtype=np.float64)
    tokens = Form(np.diag(h)[None], np.zeros((1, len(h))), np.zeros(1))
    return gaussian.Quadratic(tokens, np.zeros(len(h)), (("w", len(h)),))


def found_spectrum(curvatures):
    model = subject(valley(curvatures))
    return spectrum(LocalPosterior(model, model.components["w"], 1.0, 1.0), seed=3)


def test_curvature_is_exact_for_few_weights():
    """Up to 64 weights all eigenvalues, negative ones too."""
    h = [4.0, 1.0, 0.25, 0.0, -0.5]
    found = found_spectrum(h)
    assert np.allclose(np.sort(found.nodes[0]), np.sort(h), atol=1e-9)
    exact = sum(30 * x / (2 * (30 * x + 20)) for x in h)
    assert abs(found.trace(lambda x: 15 * x / (30 * x + 20)) - exact) < 1e-9


def test_curvature_by_lanczos_for_many_weights():
    """Beyond 64 weights the extremes come from Lanczos, the trace from its quadrature."""
    h = np.concatenate([np.linspace(0.0, 1.0, 200), [5.0, -2.0]])
    found = found_spectrum(h)
    assert abs(found.largest - 5.0) < 0.01
    assert abs(found.smallest + 2.0) < 0.02
    exact = float(np.sum(30 * h / (2 * (30 * h + 80))))
    assert abs(found.trace(lambda x: 15 * x / (30 * x + 80)) / exact - 1) < 0.25


def test_a_gamma_that_confines_nothing_is_refused():
    """gamma below -n_beta lambda_min raises and names the least one."""
    with pytest.raises(RecipeError, match="unconfined"):
        calibrate(subject(valley([1.0, -1.0])), "w", Aim(n_beta=10.0, gamma=5.0), seed=1)


QUADRATIC = gaussian.random_quadratic(4, sizes=(4,), tokens=6, spread=0.5, equal_curvature=True)
CASES = {
    "quadratic": (lambda: subject(QUADRATIC), "block0", Aim(n_beta=20.0, gamma=20.0, coupling=antithetic())),
    "mini-batch": (
        lambda: noisy_subject(QUADRATIC, 0.2 * np.eye(4)), "block0",
        Aim(n_beta=20.0, gamma=20.0, coupling=antithetic(), batch_rows=2, sampler=SGLD),
    ),
    "w^4": (
        lambda: subject(crossing.Crossing((2,))), "w", Aim(n_beta=1000.0, gamma=60.0, coupling=antithetic()),
    ),
}  # fmt: skip


def exact_llc(name, aim):
    if name == "w^4":
        return crossing.Crossing((2,)).llc(aim.n_beta, aim.gamma)
    return gaussian.llc(QUADRATIC, gaussian.posterior(QUADRATIC, aim.n_beta, aim.gamma), aim.n_beta)


@pytest.mark.parametrize("name", CASES)
def test_recipe_recovers_the_exact_llc(name):
    """The recipe's value, less the step bias that was measured, holds the exact one within both errors."""
    make, component, aim = CASES[name]
    model = make()
    found = calibrate(model, component, aim, seed=11)
    text = repr(found)
    print(text)
    assert "\n" not in text
    assert "Step bias" in text
    value = llc(read(model, found.recipe, 12, components=(component,))).sel(component=component)
    predicted, measured, error = found.step_bias
    continuum = float(value.value) / (1 + measured)
    spread = np.hypot(float(value.error) / (1 + measured), error * continuum)
    assert abs(continuum - exact_llc(name, aim)) < K * spread
    assert name == "w^4" or abs(measured - predicted) < K * error, "quadratic losses: the law is exact"
    assert error < 0.05, "the same noise at both steps"
    assert abs(found.expected_error / float(value.error) - 1) < 0.8


def test_slopes_are_predicted():
    """A block whose w* is no minimum: the printed quadratic coefficient is the exact, negative one."""
    system = gaussian.random_quadratic(6, sizes=(4, 2), tokens=4, spread=0.5)
    found = calibrate(subject(system), "block0", Aim(n_beta=20.0, gamma=20.0, sampler=SGLD), seed=3)
    small, step = system.restrict(range(4)), found.recipe.sampler.step_size
    energy = small.energy(20.0, 20.0)
    exact = gaussian.llc(small, energy.law, 20.0), gaussian.llc(small, lyapunov.sgld(energy, step).law(), 20.0)
    assert np.allclose(found.gaussian_llc, exact, atol=1e-5)
    assert exact[0] < 0


def test_arms_that_do_not_contract_are_dropped():
    """Shallow double wells with w* in one of them: the recipe has no arms, and the paragraph says why."""

    def loss(params, batch):
        w = params["w"] + 1
        return 0.25 * ((w**2 - 1) ** 2).sum() + 0.3 * (2.0 * batch["index"] - 1) * w.sum()

    center = {"w": torch.zeros(8, dtype=torch.float64)}
    parts, data = {"w": whole_component("w", center)}, {"index": torch.arange(2)}
    model = Subject("wells", center, loss, data, {"base": data}, parts)
    found = calibrate(model, "w", Aim(n_beta=4.0, gamma=0.1, coupling=coupled(0.1)), seed=1)
    print(found)
    assert not found.recipe.coupling.responds
    assert "were dropped" in repr(found)


def test_the_recipe_thins_where_reading_costs_more_than_stepping():
    """Draws of a wide probe are spaced out; a group's mean is nearly normal even for few groups."""
    narrow = subject(valley([4.0, 1.0, 0.25]))
    wide = subject(valley([4.0, 1.0, 0.25]), probes={"more": {"index": torch.zeros(400, dtype=torch.int64)}})
    aim = Aim(n_beta=20.0, gamma=20.0, coupling=antithetic(), groups=4, relative_error=0.5)
    dense, spaced = (calibrate(model, "w", aim, seed=2).recipe for model in (narrow, wide))
    assert spaced.schedule.thin > dense.schedule.thin
    many = read(narrow, dense.with_schedule(groups=1000), 3, components=("w",)).cells["w"]
    squares = ((many["loss"] - many["loss"].mean()) ** 2).mean(("member", "draw")).values
    assert skewness(squares) < 1.8, "single draws of these squares have a skewness of about 8"


def test_a_singular_loss_is_stiffer_away_from_its_center():
    """w^4 has no curvature at w*; the step still follows the curvature where chains go (no crash, no NaN)."""
    make, component, aim = CASES["w^4"]
    found = calibrate(make(), component, aim, seed=13)
    assert found.recipe.sampler.step_size * (aim.gamma + aim.n_beta * 12 * 0.01) < 2
    assert np.isfinite(found.llc).all()


def test_the_expected_noise_of_responses_is_what_runs_show():
    """RMS error of the coupled column over its spread, against the errors of a run with the recipe."""
    system = gaussian.random_quadratic(6, sizes=(4, 2), tokens=4, spread=0.5)
    model, aim = subject(system), Aim(n_beta=20.0, gamma=20.0, coupling=coupled(0.1), groups=16)
    found = calibrate(model, "block0", aim, seed=3)
    chi = susceptibility_coupled(read(model, found.recipe, 4, components=("block0",)))
    exact = gaussian.susceptibility(system.restrict(range(4)), system.restrict(range(4)).energy(20.0, 20.0).law)
    shown = float(np.sqrt((chi.error**2).mean())) / exact.std()
    assert 0.5 < found.expected_noise / shown < 2.0
    assert found.contraction.valid
    assert abs(found.response_bias[0]) < 0.02
