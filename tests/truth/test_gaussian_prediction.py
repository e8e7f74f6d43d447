"""The quadratic prediction: slopes, probes other than the data, finite steps and mini-batch heating, all exact."""

import numpy as np
import pytest
import torch

from exact_subject import K, noisy_subject, read, recipe, subject
from susceptometer.estimate.curvature import DENSE, lanczos, some_rows
from susceptometer.estimate.gaussian_law import data_slope, gaussian_law, noise_level, row_residuals
from susceptometer.estimate.llc import llc
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.testbed import gaussian, lyapunov
from susceptometer.testbed.form import Form

TEMPER = (20.0, 20.0)
SAMPLERS = {SGLD: lyapunov.sgld, LeimkuhlerMatthews: lyapunov.leimkuhler_matthews}
SYSTEM = gaussian.random_quadratic(6, sizes=(4, 2), tokens=4, spread=0.5)


def predicted(model, component, **settings):
    posterior = LocalPosterior(model, model.components[component], *TEMPER)
    return gaussian_law(posterior, seed=1, **settings)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_slopes_and_steps_are_counted(kind):
    """w* is no minimum of this block: the exact law is negative, without the slope it would be positive."""
    small = SYSTEM.restrict(range(4))
    found, energy = predicted(subject(SYSTEM), "block0"), small.energy(*TEMPER)
    continuum = gaussian.llc(small, energy.law, TEMPER[0])
    assert abs(found.llc() - continuum) < 1e-5
    at_step = gaussian.llc(small, SAMPLERS[kind](energy, 1e-2).law(), TEMPER[0])
    assert abs(found.llc(kind(step_size=1e-2)) - at_step) < 1e-5
    assert np.allclose(found.mean.numpy(), energy.law.mean, atol=1e-6)
    flat = predicted(subject(gaussian.Quadratic(
        Form(SYSTEM.tokens.hessian, 0 * SYSTEM.tokens.slope, SYSTEM.tokens.constant), SYSTEM.anchor, SYSTEM.parts,
    )), "block0")  # fmt: skip
    assert flat.llc() > 0 > continuum


def test_the_prediction_is_what_chains_find():
    """Sampled with the same step, off the minimum: prediction within errors, and far from it without the slope."""
    model = subject(SYSTEM)
    plan = recipe(SGLD(step_size=5e-3), TEMPER, coupling=antithetic(), schedule=(256, 80, 60, 3))
    value = llc(read(model, plan, 3, components=("block0",))).sel(component="block0")
    found = predicted(model, "block0")
    assert abs(float(value.z(found.llc(SGLD(step_size=5e-3))))) < K
    assert abs(float(value.z(found.llc()))) > K, "the step must be visible"
    assert abs(float(value.z(found.llc(SGLD(step_size=5e-3)) - TEMPER[0] * found.shift))) > K, (
        "the slope must be visible"
    )


def test_a_probe_of_other_text_has_its_own_coefficient():
    """U on all tokens, L on two of them: their own slope and curvature are averaged over U's law."""
    model = subject(SYSTEM, probes={"base": {"index": torch.tensor([0, 2])}})
    law, two = SYSTEM.energy(*TEMPER).law, SYSTEM.tokens
    means = two.mean(law) - two.constant
    assert abs(predicted(model, "full").llc() - TEMPER[0] * means[[0, 2]].mean()) < 1e-5
    assert abs(means[[0, 2]].mean() - means.mean()) > 1e-3


@pytest.mark.parametrize("kind", SAMPLERS)
def test_heating_by_mini_batches(kind):
    """Gradient noise G heats both samplers as their exact laws say; control variates remove it."""
    flat = gaussian.random_quadratic(4, sizes=(4,), tokens=6, spread=0.5, equal_curvature=True)
    noise = 0.4 * np.eye(4)
    model = noisy_subject(flat, noise, rows=200)
    posterior = LocalPosterior(model, model.components["block0"], *TEMPER)
    residuals = row_residuals(posterior, posterior.center, centered=False)
    assert abs(noise_level(residuals, 2) / (0.2 * 200 / 199) - 1) < 1e-4
    found = gaussian_law(posterior, seed=1, noise=residuals, batch_rows=2)
    exact = gaussian.llc(flat, SAMPLERS[kind](flat.energy(*TEMPER, noise / 2), 1e-2).law(), TEMPER[0])
    cold = gaussian.llc(flat, SAMPLERS[kind](flat.energy(*TEMPER), 1e-2).law(), TEMPER[0])
    heat = found.llc(kind(step_size=1e-2)) - gaussian_law(posterior, seed=1).llc(kind(step_size=1e-2))
    assert abs(heat / (exact - cold) / (200 / 199) - 1) < 1e-4
    assert float(row_residuals(posterior, posterior.center, centered=True).abs().max()) == 0


def test_many_weights_by_lanczos():
    """Beyond 64 weights slope and mean come from Krylov spaces: mean to 1e-4, trace within its sampling error."""
    size = 3 * DENSE
    h = np.linspace(0.1, 3.0, size)
    slope = 0.2 * np.random.default_rng(0).standard_normal((1, size))
    system = gaussian.Quadratic(Form(np.diag(h)[None], slope, np.zeros(1)), np.zeros(size), (("w", size),))
    model = subject(system)
    found, law = predicted(model, "w"), system.energy(*TEMPER).law
    assert np.linalg.norm(found.mean.numpy() - law.mean) < 1e-4 * np.linalg.norm(law.mean)
    assert abs(found.shift / float(system.base.mean(gaussian.Law(law.mean, 0 * law.covariance))) - 1) < 1e-4
    widths = 0.5 * np.trace(system.base.hessian @ law.covariance)
    assert abs((found.llc() / TEMPER[0] - found.shift) / widths - 1) < 0.2
    posterior = LocalPosterior(model, model.components["w"], *TEMPER)
    one = lanczos(posterior, data_slope(posterior), some_rows(posterior), at=posterior.center, iterations=12)
    exact = float(slope[0] @ np.linalg.inv(20 * np.diag(h) + 20 * np.eye(size)) @ slope[0])
    assert abs(one.form(lambda x: 1 / (20 * x + 20)) / exact - 1) < 1e-6
