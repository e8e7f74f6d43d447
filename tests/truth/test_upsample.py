"""Upsampling: a known map is learned up to the ceiling that noise allows, judged on rows never seen."""

import numpy as np
import pytest
import torch

from susceptometer.errors import DataError
from susceptometer.structure.response import response_of
from susceptometer.structure.upsample import (
    UpsamplePlan,
    fit_upsampler,
    reliable_whitening,
    row_numbers,
    shared_neighbours,
    token_means,
    upsample_quality,
)

PLAN = UpsamplePlan(hidden=64, epochs=40, batch=128, learning_rate=4e-3, dropout=0.0, weight_decay=0.01)


def world(seed, noise=0.5, tokens=3000):
    """chi = a smooth function of inputs, two of six columns pure noise; 8 groups of replicates."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(tokens, 10))
    signal = np.tanh(inputs @ draw.normal(size=(10, 4)))
    truth = np.concatenate([signal, np.zeros((tokens, 2))], axis=1)
    replicates = truth.T[None] + noise * draw.normal(size=(8, 6, tokens))
    rows = {"row": ("token", np.arange(tokens) // 50), "probe": ("token", np.full(tokens, "base"))}
    chi = response_of(replicates, [f"head {i}" for i in range(6)], rows, "within-run")
    return torch.from_numpy(inputs).float(), chi


def test_a_known_map_is_learned_up_to_its_ceiling(seed):
    inputs, chi = world(seed)
    held = row_numbers(chi) % 4 == 0
    whitening = reliable_whitening(chi.of_tokens(~held))
    kept = len(whitening.reliability)
    assert (
        kept in {4, 5} and (np.sort(whitening.reliability)[-3:] > 0.7).all()
    )  # at least one noise direction is left out
    targets = whitening.map(chi.matrix().mean(0))
    model = fit_upsampler(inputs[torch.from_numpy(~held)], targets[~held], row_numbers(chi)[~held], PLAN, seed=0)
    by_token = np.broadcast_to(targets[~held].mean(0), (held.sum(), kept))
    found = upsample_quality(
        model(inputs[torch.from_numpy(held)]),
        by_token,
        chi.of_tokens(held),
        whitening,
        k=15,
        seed=0,
    )
    assert (found.r2 > found.ceiling - 0.12).all() and (found.r2 < found.ceiling + 4 * found.r2_error + 0.03).all()
    assert np.abs(found.token_r2).max() < 0.02 and found.cosine > 0.9
    assert found.overlap > 5 * found.overlap_chance and 0 < found.overlap_halves < 1


def test_inputs_that_know_nothing_predict_nothing(seed):
    inputs, chi = world(seed)
    whitening = reliable_whitening(chi)
    targets, rows = whitening.map(chi.matrix().mean(0)), row_numbers(chi)
    shuffled = inputs[torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))]
    held = rows % 4 == 0
    model = fit_upsampler(shuffled[torch.from_numpy(~held)], targets[~held], rows[~held], PLAN, seed=0)
    guess = model(shuffled[torch.from_numpy(held)])
    assert (1 - ((targets[held] - guess) ** 2).sum(0) / (targets[held] ** 2).sum(0) < 0.05).all()


def test_the_same_seed_gives_the_same_network(seed):
    inputs, chi = world(seed, tokens=600)
    targets = reliable_whitening(chi).map(chi.matrix().mean(0))
    short = UpsamplePlan(hidden=16, epochs=2)
    one, two, other = (fit_upsampler(inputs, targets, row_numbers(chi), short, seed=s)(inputs) for s in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_noise_alone_is_refused(seed):
    draw = np.random.default_rng(seed)
    chi = response_of(draw.normal(size=(8, 4, 2000)), list("abcd"), {}, "within-run")
    with pytest.raises(DataError, match="reliable"):
        reliable_whitening(chi)


def test_token_means():
    targets, tokens = np.array([[1.0], [3.0], [8.0]]), np.array([7, 7, 2])
    assert token_means(targets, tokens, np.array([7, 2, 5])).ravel() == pytest.approx([8 / 3, 6.0, 4.0])


def test_shared_neighbours():
    first, second = np.array([[1, 2], [0, 2], [0, 1]]), np.array([[2, 3], [3, 4], [1, 0]])
    assert shared_neighbours(first, second) == pytest.approx((0.5 + 0 + 1) / 3)
