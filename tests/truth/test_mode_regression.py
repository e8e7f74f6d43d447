"""What first modes and last tokens explain of a function of tokens: planted shares, nulls, and closed forms."""

import numpy as np
import pytest

from susceptometer.errors import DataError
from susceptometer.structure import mode_regression
from susceptometer.structure.mode_regression import canonical_correlations, explained, held_out_fit, within_rows
from susceptometer.structure.recurrence import context_keys, recurrence, recurs


def sample(seed, rows=40, length=100, width=12):
    draw = np.random.default_rng(seed)
    return draw, draw.standard_normal((rows * length, width)), np.repeat(np.arange(rows), length)


def test_a_planted_share_is_found_where_its_features_are(seed):
    draw, features, rows = sample(seed)
    target = features[:, :3] @ [1.0, 0.0, 1.0] + draw.standard_normal(len(rows))  # shares 1/3, 1/3, 2/3
    mixed = target[within_rows(rows, seed=seed)]
    found = explained(features, np.stack([target, mixed], 1), rows, (1, 2, 3, 12), seed=seed)
    z = (found.value[:, 0] - [1 / 3, 1 / 3, 2 / 3, 2 / 3]) / found.error[:, 0]
    assert np.abs(z).max() < 5 and found.error.max() < 0.03
    assert np.abs(found.value[:, 1]).max() < 0.02


def test_a_row_effect_is_no_feature(seed):
    """Held-out rows: a feature that names the row predicts nothing, although it fits the sample."""
    draw, _, rows = sample(seed, rows=100, length=20)
    names = np.eye(100)[rows]
    found = explained(names, draw.standard_normal((100, 8))[rows], rows, (100,), seed=seed)
    assert found.value.mean() < 0.05


def test_the_fit_is_ridge(seed, monkeypatch):
    draw, features, rows = sample(seed, rows=6, width=4)
    monkeypatch.setattr(mode_regression, "PENALTIES", (0.1,))
    target = draw.standard_normal((len(rows), 1)) + features[:, :1]
    guess = held_out_fit(features, target, rows, seed=seed, folds=6)
    scaled = (features - features.mean(0)) / features.std(0)
    rest = rows != 2
    gram = scaled[rest].T @ scaled[rest]
    weights = np.linalg.solve(
        gram + 0.1 * np.diag(gram).max() * np.eye(4), scaled[rest].T @ (target - target.mean())[rest]
    )
    assert guess[rows == 2] == pytest.approx(target.mean() + scaled[rows == 2] @ weights, abs=1e-10)


def test_canonical_correlations(seed):
    draw, features, _ = sample(seed)
    turned = features[:, :3] @ draw.standard_normal((3, 3))
    assert canonical_correlations(features[:, :3], turned) == pytest.approx(np.ones(3))
    assert canonical_correlations(features[:, :3], features[:, 3:6]).max() < 0.1
    half = features[:, :1] + features[:, 6:7]
    assert canonical_correlations(features[:, :1], half)[0] == pytest.approx(0.5**0.5, abs=0.05)


def test_a_permutation_within_rows_keeps_rows(seed):
    _, _, rows = sample(seed, rows=5, length=7)
    mixed = within_rows(rows, seed=seed)
    assert np.array_equal(np.sort(mixed), np.arange(35)) and np.array_equal(rows[mixed], rows)
    assert (mixed != np.arange(35)).sum() > 20


def test_bad_requests_are_refused(seed):
    _, features, rows = sample(seed, rows=5)
    with pytest.raises(DataError, match="nothing to fit"):
        explained(features, features, rows, (13,), seed=seed)
    with pytest.raises(DataError, match="nothing to fit"):
        explained(features, features, rows * 0, (2,), seed=seed)
    with pytest.raises(DataError, match="no key recurs"):
        recurrence(features[:, :1], np.arange(len(rows)), rows)


def passages(seed, rows=64, length=257, tokens=6):
    draw = np.random.default_rng(seed)
    text = draw.integers(0, tokens, (rows, length))
    row, position = np.divmod(np.arange(rows * (length - 1)), length - 1)
    return draw, text, row, position


def test_the_share_of_last_tokens(seed):
    """s = a(y) + b(x, y) + noise of known variances: shares of the token, of the pair, and of three tokens."""
    draw, text, row, position = passages(seed)
    x, y = text[:, :-1].ravel(), text[:, 1:].ravel()
    one, two = draw.standard_normal(6), draw.standard_normal((6, 6))
    one -= one.mean()
    two -= two.mean(0)
    signal = one[y] + two[x, y]
    noisy = signal + signal.std() * draw.standard_normal(len(y))
    values = np.stack([noisy, draw.standard_normal(64)[row]], 1)
    found = [recurrence(values, context_keys(text, row, position, k), row) for k in (1, 2, 3)]
    alone = one[y].var() / noisy.var()
    # the null of b within a token has mean zero over x only on average: allow its sampling noise
    for share, one_found in zip((alone, 0.5, 0.5), found, strict=True):
        assert abs(one_found.value[0] - share) < 5 * one_found.error[0] + 0.01
        assert abs(one_found.value[1]) < 5 * one_found.error[1] + 0.02  # planted: pairs of one row would give 1
        assert one_found.coverage > 0.99


def test_keys_by_hand():
    rows = np.array([[7, 1, 2, 1, 2], [8, 1, 2, 2, 1]])
    row, position = np.repeat([0, 1], 4), np.tile(np.arange(4), 2)
    pairs = context_keys(rows, row, position, 2)
    assert len(set(pairs.tolist())) == 5  # 71 12 21 12 | 81 12 22 21
    assert pairs[1] == pairs[3] == pairs[5] and pairs[2] == pairs[7]
    assert recurs(pairs, row).tolist() == [False, True, True, True, False, True, False, True]


def test_a_key_that_decides_nothing_has_share_zero_though_it_recurs_only_once():
    """Products of a token with itself are left out: with two tokens to a key they would make the share one."""
    rng = np.random.default_rng(4)
    keys, rows = np.repeat(np.arange(3000), 2), np.concatenate([rng.choice(200, 2, replace=False) for _ in range(3000)])
    found = recurrence(rng.normal(size=(6000, 2)), keys, rows)
    assert found.coverage == 1.0
    assert (np.abs(found.value) < 4 * found.error).all() and (found.error < 0.05).all()
