"""Maps: their quality measures on maps whose quality is known, and alignment."""

import numpy as np
import pytest

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed
from susceptometer.structure.embed import MapSetting, embed, embed_over_time, map_quality, purity, turned_onto


def plane(seed, tokens=300):
    return np.random.default_rng(stream_seed(seed, "plane")).standard_normal((tokens, 2))


def test_a_map_that_is_the_data_is_perfect_and_a_shuffled_one_is_not(seed):
    points = plane(seed)
    vectors = np.c_[points, np.zeros((300, 3))]
    classes = (points[:, 0] > 0).astype(int)
    good = map_quality(vectors, points @ np.array([[0, 1], [-1, 0]]), classes)
    assert good.trustworthiness == pytest.approx(1)
    assert good.continuity == pytest.approx(1)
    assert good.purity[0] == pytest.approx(good.purity[1])
    bad = map_quality(vectors, np.random.default_rng(seed).permutation(points), classes)
    assert bad.trustworthiness < 0.65
    assert abs(bad.purity[1] - bad.chance) < 0.1


def test_chance_is_the_purity_of_permuted_classes(seed):
    points = plane(seed, 2000)
    classes = np.random.default_rng(seed).choice(3, 2000, p=[0.7, 0.2, 0.1])
    assert abs(purity(points, classes) - map_quality(points, points, classes).chance) < 0.02


def test_turning_finds_a_rotation_and_reflection(seed):
    points = plane(seed)
    angle = 2.1
    turn = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    np.testing.assert_allclose(turned_onto(points @ turn + 5, points), points, atol=1e-9)


def test_what_cannot_be_mapped_is_refused(seed):
    with pytest.raises(DataError, match="cannot be mapped"):
        embed(np.zeros((20, 3)), MapSetting(neighbours=45), seed=seed)
    with pytest.raises(DataError, match="not finite"):
        embed(np.full((200, 3), np.nan), seed=seed)


@pytest.mark.slow
def test_clumps_stay_clumps_and_maps_follow_each_other(seed):
    rng = np.random.default_rng(stream_seed(seed, "clumps"))
    classes = np.repeat(np.arange(4), 60)
    late = 8.0 * np.eye(6)[classes] + 0.5 * rng.standard_normal((240, 6))
    early = late + rng.standard_normal((240, 6))
    first, last = embed_over_time([early, late], MapSetting(neighbours=15), seed=seed)
    assert map_quality(late, last, classes).purity[1] > 0.99
    centres = [np.stack([one[classes == k].mean(0) for k in range(4)]) for one in (first, last)]
    moved = np.linalg.norm(centres[0] - centres[1], axis=1).mean()
    assert moved < 0.5 * np.linalg.norm(centres[1][:, None] - centres[1][None], axis=-1).max()
    np.testing.assert_array_equal(
        embed(late, MapSetting(neighbours=15), seed=seed), embed(late, MapSetting(neighbours=15), seed=seed)
    )
