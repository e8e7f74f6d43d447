"""Joint trajectory PCA on planted planes."""

import numpy as np
import pytest

from susceptometer.develop.joint import joint_pca, share_errors, shuffled_shares
from susceptometer.errors import DataError


@pytest.fixture
def planted(seed):
    """Three runs of 20 checkpoints whose outputs lie in a plane of 60 outputs, up to small noise."""
    draw = np.random.default_rng(seed)
    plane = np.linalg.qr(draw.standard_normal((60, 2)))[0]
    time = np.linspace(0, 1, 20)
    paths = np.array([[[5 * t, bend * np.sin(np.pi * t)] for t in time] for bend in (0.0, 1.0, 2.0)])
    return paths, plane, paths @ plane.T + 0.01 * draw.standard_normal((3, 20, 60)) + 3.0


def test_the_plane_and_the_curves_are_found(planted):
    paths, plane, outputs = planted
    found = joint_pca(outputs, 2)
    assert np.linalg.svd(found.axes.T @ plane, compute_uv=False) == pytest.approx([1, 1], abs=1e-3)
    assert found.share.sum() > 0.99
    inner = np.linalg.norm(np.diff(found.curves, axis=1), axis=-1)
    assert inner == pytest.approx(np.linalg.norm(np.diff(paths, axis=1), axis=-1), abs=0.08)


def test_projection_of_the_rows_gives_the_curves(planted):
    _, _, outputs = planted
    found = joint_pca(outputs, 2)
    assert found.project(outputs) == pytest.approx(found.curves, abs=1e-9)


def test_gram_and_direct_routes_agree(planted):
    _, _, outputs = planted
    wide = joint_pca(outputs, 2)
    tall = joint_pca(np.concatenate([outputs, outputs]), 2)
    assert tall.share == pytest.approx(wide.share, rel=1e-6)


def test_weights_stand_for_repeated_checkpoints(planted):
    _, _, outputs = planted
    weights = np.ones(20)
    weights[5] = 3
    repeated = np.concatenate([outputs, outputs[:, [5, 5]]], axis=1)
    assert joint_pca(outputs, 2, weights=weights).share == pytest.approx(joint_pca(repeated, 2).share, rel=1e-8)


def test_orientation(planted):
    _, plane, outputs = planted
    found = joint_pca(outputs, 2).oriented(plane[:, 0])
    assert (plane[:, 0] @ found.axes >= 0).all()


def test_bootstrap_errors_and_the_shuffled_null(planted):
    _, _, outputs = planted
    errors = share_errors(outputs, 2, np.repeat(np.arange(20), 3), resamples=40, seed=0)
    assert (errors > 0).all()
    assert errors.max() < 0.2
    null = shuffled_shares(outputs, 2, resamples=20, seed=0)
    assert null.shape == (20, 2)
    assert null[:, 1].max() < joint_pca(outputs, 2).share[1], "the planted arc is no accident of its increments"


def test_bad_shapes_are_refused(planted):
    _, _, outputs = planted
    with pytest.raises(DataError, match="trajectories"):
        joint_pca(outputs[0], 2)
    with pytest.raises(DataError, match="axes"):
        joint_pca(outputs[:1, :2], 2)
