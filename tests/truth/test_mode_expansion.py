"""Susceptibilities expanded in modes of an exactly known language, by algebra and by the package's own chains."""

import numpy as np
import pytest
import torch

from exact_subject import recipe
from susceptometer.errors import DataError
from susceptometer.estimate.susceptibility import susceptibility_covariance
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.structure.mode_expansion import mode_basis, response_coefficients
from susceptometer.testbed.sequence_source import function, markov


@pytest.fixture(scope="module")
def language():
    """An order-1 language of five tokens."""
    return markov(np.random.default_rng(4).dirichlet(np.full(5, 0.6), 5))


def test_the_bases_are_complete_and_expand_the_law(language):
    basis = mode_basis(language)
    for functions, weights in ((basis.contexts, basis.weights), (basis.outputs, basis.output_law)):
        assert functions.T @ (weights[:, None] * functions) == pytest.approx(np.eye(5), abs=1e-12)
    assert basis.amplitude[0] == pytest.approx(1)
    assert basis.contexts[:, 0] == pytest.approx(np.ones(5))
    assert basis.outputs[:, 0] == pytest.approx(np.ones(5))
    joint = language.weights[:, None] * language.conditional
    rebuilt = (basis.contexts * basis.amplitude) @ basis.outputs.T
    assert rebuilt * basis.weights[:, None] * basis.output_law == pytest.approx(joint, abs=1e-12)


def test_expansion_and_mean_of_any_function(language, seed):
    basis, table = mode_basis(language), np.random.default_rng(seed).standard_normal((3, 5, 5))
    parts = basis.coefficients(table)
    assert basis.values(parts) == pytest.approx(table, abs=1e-12)
    joint = language.weights[:, None] * language.conditional
    assert basis.mean(parts) == pytest.approx((joint * table).sum((1, 2)), abs=1e-12)


def test_the_identity_holds_for_any_draws(language, seed):
    draw, basis = np.random.default_rng(seed), mode_basis(language)
    losses, observable = draw.standard_normal((40, 5, 5)), draw.standard_normal(40)
    joint = language.weights[:, None] * language.conditional
    centred = losses - (joint * losses).sum((1, 2))[:, None, None]
    shift = observable - observable.mean()
    direct = -np.einsum("d,dxy->xy", shift, centred) / 39
    parts = response_coefficients(basis, observable, losses)
    assert basis.values(parts) == pytest.approx(direct, abs=1e-12)
    assert (joint * direct).sum() == pytest.approx(0, abs=1e-12)
    assert basis.mean(parts) == pytest.approx(0, abs=1e-12)


def test_chains_agree_whether_they_read_tokens_or_modes(language):
    """One chain of a rank-2 bigram model reads every pair (x, y) once and every mode coefficient once.

    An estimator subtracts L from every row, so the row of mode (a, b) is l_ab + L, except l_11 at the constant mode.
    """
    basis = mode_basis(language)
    draw = torch.Generator().manual_seed(0)
    center = {name: torch.randn(5, 2, generator=draw, dtype=torch.float64) for name in ("embed", "unembed")}
    joint = torch.tensor(language.weights[:, None] * language.conditional)
    left = torch.tensor(basis.weights[:, None] * basis.contexts)
    right = torch.tensor(basis.output_law[:, None] * basis.outputs)
    other = 1 - torch.eye(1, 25, dtype=torch.float64).reshape(5, 5)

    def loss(params, batch):
        table = -torch.log_softmax(params["embed"] @ params["unembed"].T, -1)
        modes = left.T @ table @ right + other * (joint * table).sum()
        kinds = torch.stack([25 * joint * table, table, modes]).reshape(3, 25, 1)
        return kinds[batch["kind"], batch["pair"]]

    def rows(kind):
        return {"kind": torch.full((25,), kind), "pair": torch.arange(25)}

    parts = {"embed": whole_component("embed", center, only=("embed",))}
    model = Subject("bigram", center, loss, rows(0), {"base": rows(0), "tokens": rows(1), "modes": rows(2)}, parts)
    plan = recipe(LeimkuhlerMatthews(step_size=2e-3), (50.0, 20.0), schedule=(8, 50, 60, 3))
    found = susceptibility_covariance(read_here(model, parts, plan, seed=0))
    probe, chi = found.data["probe"].values, found.value.values[0]
    tokens, modes = (chi[probe == name].reshape(5, 5) for name in ("tokens", "modes"))
    assert basis.values(modes) == pytest.approx(tokens, abs=1e-6 * np.abs(tokens).max())
    assert (joint.numpy() * tokens).sum() == pytest.approx(0, abs=1e-6 * np.abs(tokens).max())
    assert np.abs(tokens).max() > 5 * np.median(found.error.values[0][probe == "tokens"]), (
        "there is something to expand"
    )


def test_an_output_that_never_occurs_is_refused():
    with pytest.raises(DataError, match="never occurs"):
        mode_basis(function([0, 2], [0.5, 0.5]))
