"""Principal pairs: planted matrices come back, errors cover, the significance rule keeps its level."""

import numpy as np
import pytest

from susceptometer.errors import ComponentError, DataError
from susceptometer.rng import stream_seed
from susceptometer.structure.circuit import auroc, auroc_with_error, separation
from susceptometer.structure.response import response_of
from susceptometer.structure.significance import significance
from susceptometer.structure.spectrum import GroupGram, matched, spectrum
from susceptometer.structure.standardise import KINDS, standardisation

HEADS, GROUPS = 6, 8


def planted(seed, strengths=(), tokens=400, noise=0.5, shared=0.7):
    """Signals of given strengths along orthonormal heads, plus group noise that tokens share."""
    rng = np.random.default_rng(stream_seed(seed, "planted response"))
    heads = np.linalg.qr(rng.standard_normal((HEADS, HEADS)))[0]
    along = rng.standard_normal((3, tokens))
    wobble = rng.standard_normal((GROUPS, HEADS, 3)) @ along / np.sqrt(3)
    chi = shared * wobble + noise * rng.standard_normal((GROUPS, HEADS, tokens))
    for strength, head in zip(strengths, heads, strict=False):
        chi += strength * head[:, None] * rng.standard_normal(tokens)
    return response_of(chi, [f"h{i}" for i in range(HEADS)], {"row": ("token", np.arange(tokens) // 20)}, "within-run")


def test_pairs_are_those_of_a_plain_decomposition(seed):
    found = spectrum(planted(seed, (5, 3)), seed=seed, bootstraps=3)
    chi = planted(seed, (5, 3)).estimate().value.values.T
    z = (chi - chi.mean(0)) / chi.std(0)
    left, size, right = np.linalg.svd(z, full_matrices=False)
    np.testing.assert_allclose(found.data["share"], size**2 / (size**2).sum(), rtol=1e-9)
    np.testing.assert_allclose(np.abs(found.data["loading"].values @ right.T), np.eye(HEADS), atol=1e-7)
    np.testing.assert_allclose(np.abs(found.data["score"].values), np.abs(left * size).T, atol=1e-7)
    largest = np.abs(found.data["loading"].values).argmax(1)
    assert (found.data["loading"].values[np.arange(HEADS), largest] > 0).all()


@pytest.mark.parametrize("kind", ["columns", "columns and rows"])
def test_moments_give_the_covariance_of_the_standardised_matrix(seed, kind):
    one = planted(seed, (4,))
    z = standardisation(one.matrix().mean(0), kind)(one.matrix().mean(0))
    gram = GroupGram.of(one.matrix())
    np.testing.assert_allclose(gram.standardised(gram.even(), kind), z.T @ z / len(z), atol=1e-10)


def test_standardised_columns_are_what_they_are_called(seed):
    x = planted(seed, (4,)).matrix().mean(0)
    columns, both, white = (standardisation(x, kind)(x) for kind in KINDS)
    np.testing.assert_allclose(columns.std(0), 1)
    np.testing.assert_allclose(both.mean(1), 0, atol=1e-12)
    covariance = white.T @ white / len(white)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-10)
    assert 0.8 < np.diag(covariance).min() <= np.diag(covariance).max() < 1


def test_bootstrap_errors_of_a_share_match_its_spread_over_repetitions(seed):
    shares, errors = [], []
    for k in range(40):
        # the same signal each time; only the chains differ
        rng = np.random.default_rng(stream_seed(seed, "chains", k))
        signal = planted(seed, (4, 2), noise=0, shared=0).replicates.values
        chains = rng.standard_normal((GROUPS, HEADS, 2)) @ np.random.default_rng(1).standard_normal((2, 400))
        found = spectrum(
            response_of(signal + chains, [f"h{i}" for i in range(HEADS)], {}, "within-run"),
            seed=seed,
            pcs=2,
            bootstraps=100,
        )
        shares.append(found.data["share"].values)
        errors.append(found.data["share_error"].values)
    ratio = np.median(errors, 0) / np.std(shares, axis=0, ddof=1)
    assert (ratio > 0.6).all()
    assert (ratio < 1.7).all()


@pytest.mark.parametrize(("strengths", "pairs"), [((), 0), ((5.0,), 1), ((5.0, 2.5), 2)])
def test_as_many_pairs_are_significant_as_were_planted(seed, strengths, pairs):
    counts = []
    for k in range(50):
        one = planted(stream_seed(seed, k), strengths)
        matrix = one.matrix()
        z = standardisation(matrix.mean(0), "columns")
        loading = np.linalg.svd(z(matrix).mean(0), full_matrices=False)[2][:4]
        counts.append(int(significance(z(matrix), loading, seed=seed).significant.sum()))
    counts = np.array(counts)
    assert (counts >= pairs).mean() > 0.9  # power
    assert (counts > pairs).sum() <= 10  # level 0.05: more than 10 of 50 has probability 2e-5


def test_few_groups_can_show_nothing(seed):
    one = planted(seed, (9.0,))
    four = response_of(one.replicates.values[:4], one.components, {}, "within-run")
    found = spectrum(four, seed=seed, pcs=1, bootstraps=3).data
    assert found["p_chains"].item() == 1 / 8
    assert not found["significant"].item()


def test_strongest_pairs_find_their_partner_first():
    assert matched(np.array([[0.9, 0.8, 0.1], [0.95, 0.2, 0.3]])).tolist() == [1, 0]


def test_a_planted_circuit_is_separated_by_its_pair(seed):
    names = [f"blocks.{layer}.attn.head.{head}" for layer in (0, 1) for head in range(6)]
    circuit = ["blocks.0.attn.head.2", "blocks.1.attn.head.1", "blocks.1.attn.head.4"]
    others = [n for n in names if n.startswith("blocks.1") and n not in circuit]
    rng = np.random.default_rng(stream_seed(seed, "circuit"))
    tokens, member = 600, np.array([1.0 if n in circuit else -0.4 for n in names])
    induction = rng.random(tokens) < 0.2
    chi = 2.0 * rng.standard_normal(tokens) * np.ones((12, 1)) + member[:, None] * (
        rng.standard_normal(tokens) - 3 * induction
    )
    chi = chi + 0.2 * rng.standard_normal((GROUPS, 12, tokens))
    pairs = spectrum(response_of(chi, names, {}, "within-run"), seed=seed, bootstraps=40)
    found = separation(pairs, circuit, others)
    assert found.pc == 2
    assert found.best[0] > 0.95
    assert found.right_side == 1.0
    assert found.p < 0.02
    side = np.sign(found.contrast[1])
    value, error = auroc_with_error(-side * pairs.data["score"].values[1], induction, np.arange(tokens) // 30)
    assert value > 0.8 + error
    swapped = separation(pairs, [*others[:2], "blocks.0.attn.head.0"], [*circuit[1:], *others[2:]])
    assert swapped.p > 0.05


def test_a_circuit_must_be_apart_from_the_others(seed):
    pairs = spectrum(planted(seed, (3,)), seed=seed, bootstraps=2)
    with pytest.raises(DataError, match="two separate groups"):
        separation(pairs, ["h0"], ["h0", "h1"])


def test_auroc_by_hand():
    inside = np.array([True, False, True, False])
    assert auroc(np.array([3.0, 1.0, 2.0, 2.0]), inside) == (1 + 1 + 1 + 0.5) / 4
    assert np.isnan(auroc(np.array([1.0, 2.0]), np.array([False, False])))


@pytest.mark.parametrize("kind", ["whitened", "rows"])
def test_no_spectrum_of_whitened_or_unknown(seed, kind):
    with pytest.raises(DataError):
        spectrum(planted(seed), kind, seed=seed)


def test_a_constant_column_is_named(seed):
    chi = planted(seed).replicates.values.copy()
    chi[:, 3] = 1.0
    with pytest.raises(DataError, match=r"columns \[3\]"):
        spectrum(response_of(chi, [f"h{i}" for i in range(HEADS)], {}, "within-run"), seed=seed)


def test_unread_components_are_named(seed):
    with pytest.raises(ComponentError, match="h9"):
        planted(seed).of_components(["h0", "h9"])
