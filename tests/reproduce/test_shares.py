"""Shares and their intervals against known values."""

import numpy as np
import pytest

from susceptometer.errors import DataError
from susceptometer.reproduce.shares import Share, apart, fisher, share


def test_wilson_interval_by_its_formula():
    k, n, z = 7, 20, 1.959963984540054
    p = k / n
    middle, half = (p + z**2 / (2 * n)), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    wanted = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    np.testing.assert_allclose(Share(k, n).interval(), wanted)


def test_interval_covers(seed):
    rng = np.random.default_rng(seed)
    ends = [Share(int(k), 20).interval() for k in rng.binomial(20, 0.3, 2000)]
    assert 0.92 < np.mean([low <= 0.3 <= high for low, high in ends]) < 0.985


def test_shares_that_touch_are_not_apart():
    assert apart(Share(0, 20), Share(15, 20)) and apart(Share(15, 20), Share(0, 20))
    assert not apart(Share(8, 20), Share(12, 20))
    assert fisher(Share(0, 20), Share(15, 20)) < 1e-5
    assert fisher(Share(8, 20), Share(12, 20)) > 0.1


def test_none_and_all_stay_finite():
    assert np.isfinite([Share(0, 20).logit, Share(20, 20).logit]).all()
    assert share([True, False, True]) == Share(2, 3)


def test_no_runs_are_refused():
    with pytest.raises(DataError, match="no share"):
        Share(1, 0)
