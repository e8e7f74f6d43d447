"""The tangent estimator (conventions 7.3) against its exact law, and planted faults in its recursion."""

import numpy as np
import pytest
import torch
from exact_subject import K, recipe, score, subject

from susceptometer.errors import RecipeError
from susceptometer.estimate.susceptibility import coupled_column
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling import tangent
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.sghmc import SGHMC
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.testbed import gaussian, pathwise

TEMPER, STEP = (30.0, 300.0), 1e-3


def run(sampler, coupling=None, *, seed=3, shape=(256, 60, 60, 2)):
    """The tangent cell of the first weight of the printed fixture (conventions 9.3)."""
    model = subject(gaussian.fixture())
    plan = recipe(sampler, TEMPER, coupling=coupling or antithetic(), schedule=shape)
    posterior = LocalPosterior(model, model.components["first"], *TEMPER)
    return tangent.tangent_cell(posterior, plan, seed=seed, groups=range(shape[0]))


def per_group(cell):
    """Response of f = l - Lbar of every token in every group, ``[group, token]``."""
    response = cell["pair"].values.sum(1) / cell.sizes["draw"]
    return response - response.mean(1, keepdims=True)


def exact(sampler):
    """The law of the tangent: SGLD's at this step; the continuum's for averaged noise."""
    block = gaussian.fixture().restrict([0])
    if isinstance(sampler, SGLD):
        return pathwise.pathwise_susceptibility(block, pathwise.tangent_chain(block, *TEMPER, step_size=STEP))
    return gaussian.susceptibility(block, gaussian.posterior(block, *TEMPER))


@pytest.mark.parametrize("sampler", [SGLD(step_size=STEP), LeimkuhlerMatthews(step_size=STEP)])
def test_the_tangent_has_its_exact_law(sampler):
    """Every token's value lies within 5 errors of the law of this sampler at this step; the error is small."""
    cell = run(sampler)
    values = per_group(cell)[:, :1]
    assert abs(score(values, exact(sampler)[:1])) < K
    assert values.std(0, ddof=1)[0] / 16 < 0.05 * abs(exact(sampler)[0])
    column = coupled_column(cell, slice(0, 2))
    assert np.allclose(column["value"], per_group(cell).mean(0), rtol=1e-12)


def test_printed_value_of_the_fixture():
    """The SGLD law is the printed -8.657913e-5 (conventions 9.3)."""
    assert np.isclose(exact(SGLD(step_size=STEP))[0], -8.657913e-5, rtol=1e-6)


@pytest.mark.parametrize(("fault", "factor"), [("source", -1.0), ("source", 0.5), ("curvature", 0.0)])
def test_planted_faults_go_red(monkeypatch, fault, factor):
    """A flipped or halved source, or a dropped Hessian product, moves the value by more than 5 errors."""
    grad, jvp = torch.func.grad, torch.func.jvp

    def faulty_grad(function):
        whole = grad(function)
        is_source = getattr(function, "__name__", "") == "_mean"
        return (lambda *args: factor * whole(*args)) if is_source and fault == "source" else whole

    def faulty_jvp(function, at, along):
        value, slope = jvp(function, at, along)
        is_drift = value.shape == at[0].shape
        return value, factor * slope if is_drift and fault == "curvature" else slope

    monkeypatch.setattr(torch.func, "grad", faulty_grad)
    monkeypatch.setattr(torch.func, "jvp", faulty_jvp)
    sampler = SGLD(step_size=STEP)
    assert abs(score(per_group(run(sampler))[:, :1], exact(sampler)[:1])) > K


def test_other_samplers_and_response_arms_are_refused():
    """Only SGLD and Leimkuhler-Matthews have this recursion, and a tangent needs no arms."""
    with pytest.raises(RecipeError, match="SGHMC"):
        run(SGHMC(step_size=STEP))
    with pytest.raises(RecipeError, match="arms"):
        run(SGLD(step_size=STEP), coupled(0.1))
