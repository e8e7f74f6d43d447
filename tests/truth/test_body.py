"""Width and fin of planted clouds; what one set of features adds to another."""

import numpy as np
import pytest

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed
from susceptometer.structure.body import body_width, fold_of_rows, spacing_fin
from susceptometer.structure.controls import added_r2, held_out_r2
from susceptometer.structure.response import response_of

HEADS, TOKENS, GROUPS = 6, 3000, 8


def cloud(seed, thin, noise):
    """All heads share a long score; half of them against the other half carry a thin one."""
    rng = np.random.default_rng(stream_seed(seed, "cloud"))
    long, across = rng.uniform(-1, 1, TOKENS) * np.sqrt(3), rng.standard_normal(TOKENS)
    side = np.array([1, 1, 1, -1, -1, -1.0])
    signal = long + thin * side[:, None] * across
    chains = noise * rng.standard_normal((GROUPS, HEADS, TOKENS))
    return response_of(signal + chains, [f"h{i}" for i in range(HEADS)], {}, "within-run")


@pytest.mark.parametrize("thin", [0.1, 0.3])
def test_width_over_length_is_that_of_the_signal_whatever_the_noise(seed, thin):
    quiet, loud = (body_width(cloud(seed, thin, noise), seed=seed, bootstraps=20) for noise in (0.01, 0.5))
    for one in (quiet, loud):
        assert abs(one.relative / thin - 1) < 0.1
    chi = cloud(seed, thin, 0.5).estimate().value.values
    naive = np.std(chi[:3].mean(0) - chi[3:].mean(0)) / np.std(chi.mean(0)) / 2
    if thin == 0.1:
        assert naive > 1.12 * thin, "without the correction noise would look like width"


def test_width_of_pure_chain_noise_is_nothing(seed):
    found = body_width(cloud(seed, 0.0, 0.3), seed=seed, bootstraps=20)
    assert found.relative < 0.05


def test_width_error_matches_its_spread_over_chains(seed):
    repeats = []
    rng = np.random.default_rng(stream_seed(seed, "repeats"))
    signal = cloud(seed, 0.3, 0.0).replicates.values[:, :, ::4]
    along = rng.standard_normal((2, signal.shape[2]))
    for _ in range(30):
        chains = 0.5 * rng.standard_normal((GROUPS, HEADS, 2)) @ along
        repeats.append(
            body_width(response_of(signal + chains, list("abcdef"), {}, "within-run"), seed=seed, bootstraps=30)
        )
    ratio = np.median([one.error[1] for one in repeats]) / np.std([one.relative for one in repeats], ddof=1)
    assert 0.5 < ratio < 2.0


def spacing(seed, strength):
    """Spacing tokens in 30 rows whose first two columns carry the run length."""
    rng = np.random.default_rng(stream_seed(seed, "spacing"))
    runs, rows = rng.geometric(0.3, 600) - 1, np.repeat(np.arange(30), 20)
    target = np.log1p(runs)
    vectors = rng.standard_normal((600, HEADS))
    vectors[:, :2] += strength * target[:, None] / target.std()
    return vectors, runs, rows


def test_a_planted_order_by_run_length_is_recovered(seed):
    vectors, runs, rows = spacing(seed, 2.0)
    plain = np.random.default_rng(seed).standard_normal((600, 1))
    found = spacing_fin(vectors, runs, rows, seed=seed, pairs=vectors, baseline=plain)
    assert abs(found.r2 - 8 / 9) < 0.04  # two columns, each signal 4 to noise 1
    assert abs(found.pairs[0] - 0.8) < 0.06
    assert found.pairs[2:].max() < 0.05
    assert found.null[1] < 0.05
    assert found.partial > 0.8
    known = spacing_fin(vectors, runs, rows, seed=seed, pairs=vectors, baseline=np.log1p(runs)[:, None])
    assert known.baseline > 0.99


def test_no_order_gives_no_fin(seed):
    vectors, runs, rows = spacing(seed, 0.0)
    found = spacing_fin(vectors, runs, rows, seed=seed, pairs=vectors, baseline=vectors[:, :1])
    assert found.r2 < 0.03


def test_a_fin_needs_tokens(seed):
    vectors, runs, rows = spacing(seed, 1.0)
    with pytest.raises(DataError, match="too few spacing tokens"):
        spacing_fin(vectors[:30], runs[:30], rows[:30], seed=seed, pairs=vectors[:30], baseline=vectors[:30])


def test_rows_stay_together_and_folds_are_even(seed):
    rows = np.repeat(np.arange(40), np.arange(40) % 7 + 1)
    folds = fold_of_rows(rows, np.random.default_rng(seed))
    assert all(len(np.unique(folds[rows == row])) == 1 for row in range(40))
    load = np.bincount(folds)
    assert len(load) == 5
    assert load.max() - load.min() <= 3


def test_partial_r2_is_the_share_of_what_was_left(seed):
    rng = np.random.default_rng(stream_seed(seed, "partial"))
    base, extra, noise = rng.standard_normal((3, 4000))
    folds = np.arange(4000) % 5
    found = added_r2(base + extra + noise, base[:, None], extra[:, None], folds)
    assert abs(found["base"] - 1 / 3) < 0.05
    assert abs(found["both"] - 2 / 3) < 0.05
    assert abs(found["partial"] - 1 / 2) < 0.05
    nothing = added_r2(base + noise, base[:, None], extra[:, None], folds)
    assert abs(nothing["partial"]) < 0.01


def test_held_out_r2_knows_no_leak(seed):
    """As many features as samples of a fold fit the training rows perfectly and say nothing of the others."""
    rng = np.random.default_rng(stream_seed(seed, "leak"))
    assert held_out_r2(rng.standard_normal((100, 60)), rng.standard_normal(100), np.arange(100) % 5) < 0.1
