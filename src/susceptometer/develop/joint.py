r"""Joint trajectory PCA: the outputs of many runs on one fixed probe, at many checkpoints, in one plane (carroll2025).

Rows are checkpoints of all runs, columns are outputs; the column mean is subtracted, F = U Lambda V', and a run's curve
is (f(w_t) - mean) V. Idealised solutions are projected into the same plane but are no part of its making.
"""

from dataclasses import dataclass

import numpy as np

from susceptometer.errors import DataError
from susceptometer.testbed.form import Array


@dataclass(frozen=True, eq=False)
class JointPCA:
    """Curves of several runs in the plane of their largest joint variance.

    Args:
        curves: Coordinates ``[runs, checkpoints, k]``.
        mean: Column mean ``[outputs]``.
        axes: Loadings ``[outputs, k]``, orthonormal columns.
        share: Share of variance per axis ``[k]``.
    """

    curves: Array
    mean: Array
    axes: Array
    share: Array

    def project(self, outputs: Array) -> Array:
        """Coordinates ``[..., k]`` of further outputs ``[..., outputs]``, e.g. of an idealised predictor."""
        return (outputs - self.mean) @ self.axes

    def oriented(self, direction: Array) -> "JointPCA":
        """Signs such that ``direction`` ``[outputs]`` is positive on every axis."""
        sign = np.where(direction @ self.axes < 0, -1.0, 1.0)
        return JointPCA(self.curves * sign, self.mean, self.axes * sign, self.share)


def joint_pca(outputs: Array, count: int = 2, *, weights: Array | None = None) -> JointPCA:
    """Joint PCA of ``outputs`` ``[runs, checkpoints, outputs]``.

    Args:
        outputs: Function-space trajectories; the same probe and checkpoints for all runs.
        count: Axes kept.
        weights: Weight of every checkpoint ``[checkpoints]`` (how dense checkpoints are decides what PCA sees);
            None: equal.

    Raises:
        DataError: Wrong shape, not finite, or fewer rows than axes.
    """
    if outputs.ndim != 3 or not np.isfinite(outputs).all():
        raise DataError(
            "not a set of trajectories",
            where="joint_pca",
            value=outputs.shape,
            why="rows are checkpoints of runs on one probe",
            do="give finite [runs, checkpoints, outputs]",
        )
    runs, times, size = outputs.shape
    if not 1 <= count <= min(runs * times - 1, size):
        raise DataError("no such number of axes", where="joint_pca", value=count, do="give fewer axes than rows")
    weight = np.tile(np.ones(times) if weights is None else np.asarray(weights, float), runs)
    flat = outputs.reshape(-1, size)
    mean = weight @ flat / weight.sum()
    left, scale, axes = _svd((flat - mean) * np.sqrt(weight)[:, None], count)
    del left
    total = float((weight[:, None] * (flat - mean) ** 2).sum())
    curves = ((flat - mean) @ axes).reshape(runs, times, count)
    return JointPCA(curves, mean, axes, scale**2 / total)


def share_errors(outputs: Array, count: int, blocks: Array, *, resamples: int, seed: int) -> Array:
    """Bootstrap errors of the shares of variance ``[count]`` over blocks of outputs (e.g. probe sequences).

    Args:
        outputs: ``[runs, checkpoints, outputs]``.
        count: Axes.
        blocks: Block number of every output ``[outputs]``.
        resamples: Bootstrap draws.
        seed: Names the draws.
    """
    generator = np.random.default_rng(seed)
    names = np.unique(blocks)
    members = [np.flatnonzero(blocks == name) for name in names]
    shares = []
    for _ in range(resamples):
        chosen = np.concatenate([members[i] for i in generator.integers(0, len(names), len(names))])
        shares.append(joint_pca(outputs[..., chosen], count).share)
    return np.std(shares, axis=0, ddof=1)


def shuffled_shares(outputs: Array, count: int, *, resamples: int, seed: int) -> Array:
    """Null: shares of variance ``[resamples, count]`` when each run's increments are taken in random order.

    Any smooth path gives curves that look like slow waves; what a true order adds must exceed this.
    """
    generator = np.random.default_rng(seed)
    steps = np.diff(outputs, axis=1)
    shares = []
    for _ in range(resamples):
        order = np.array([generator.permutation(steps.shape[1]) for _ in range(len(steps))])
        moved = np.take_along_axis(steps, order[..., None], 1).cumsum(1)
        path = np.concatenate([outputs[:, :1], outputs[:, :1] + moved], axis=1)
        shares.append(joint_pca(path, count).share)
    return np.array(shares)


def _svd(matrix: Array, count: int) -> tuple[Array, Array, Array]:
    """Leading singular triplets, by the Gram matrix of the smaller side."""
    if matrix.shape[0] <= matrix.shape[1]:
        values, left = np.linalg.eigh(matrix @ matrix.T)
        order = np.argsort(values)[::-1][:count]
        scale = np.sqrt(np.clip(values[order], 0, None))
        return left[:, order], scale, (matrix.T @ left[:, order]) / np.maximum(scale, 1e-300)
    left, scale, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :count], scale[:count], right[:count].T
