"""Bayesian influence: how the loss of one example answers more of another, in blocks of bounded memory."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from susceptometer.errors import RunError
from susceptometer.estimate.estimate import Estimate, covariance_of_means, healthy_groups, summary
from susceptometer.sampling.reading import Reading


def influence(
    reading: Reading, component: str, *, sources: np.ndarray, targets: np.ndarray, per_row: bool = False
) -> Estimate:
    r"""BIF(i, j) = -Cov[l_i, l_j] under a component's posterior, with jackknife errors (kreer2025).

    Negative: lowering the loss of source i (training more on it) lowers the loss of target j. The response of
    j to up-weighting i by dh in the mean loss is n_beta BIF dh. One product per block of sources x targets; the
    block that would exceed memory is the caller's to cut (``influence_blocks``).

    Args:
        reading: Read with ``Keep(tokens=True)``.
        component: Whose posterior.
        sources: Token numbers ``[s]`` (or row numbers with ``per_row``).
        targets: Token numbers ``[t]`` (or row numbers).
        per_row: Average the losses of each row's tokens first; one example is then one row of a probe.

    Shapes:
        returns     source target, nats^2 (value, error, correlation)

    Raises:
        RunError: Token losses were not kept.
        ChainError: A chain failed.
    """
    cell = healthy_groups(reading.cell(component), component)
    if "kept_tokens" not in cell:
        raise RunError(
            "token losses were not kept",
            where=f"reading of {reading.subject}, {component}",
            why="influence needs the loss of every example at every draw",
            do="read with keep=Keep(tokens=True)",
        )
    left, right = (_losses(reading, cell, part, per_row=per_row) for part in (sources, targets))
    found = _covariance(left, right)
    scale = np.outer(left.std((0, 1)), right.std((0, 1)))
    data = xr.Dataset(
        {
            "value": (("source", "target"), found["value"]),
            "error": (("source", "target"), found["error"]),
            "correlation": (("source", "target"), -found["value"] / np.maximum(scale, 1e-300)),
        },
        {"source": np.asarray(sources), "target": np.asarray(targets)},
    )
    return Estimate("influence", data, len(left), "nats^2")


def influence_blocks(
    reading: Reading, component: str, *, sources: np.ndarray, targets: np.ndarray, block: int = 512
) -> Iterator[Estimate]:
    """The same in tiles of at most ``block x block`` tokens: memory (2 groups + 3) x block^2 x 8 bytes.

    Yields tiles row by row; concatenate by their coordinates.
    """
    for start in range(0, len(sources), block):
        for other in range(0, len(targets), block):
            yield influence(
                reading,
                component,
                sources=sources[start : start + block],
                targets=targets[other : other + block],
            )


def _losses(reading: Reading, cell: xr.Dataset, which: np.ndarray, *, per_row: bool) -> np.ndarray:
    """Loss rises from w* (from the arm's mean if there are arms) ``[groups, draws (all members), which]``."""
    kept = cell["kept_tokens"]
    if per_row:
        number = _row_numbers(reading)
        picked = [kept.values[..., number == row].mean(-1) for row in which]
        chosen = np.stack(picked, -1)
    else:
        chosen = kept.values[..., np.asarray(which)]
    chosen = chosen.astype(np.float64)
    if cell.sizes["half"]:  # arms at n_beta (1 +- h) have different means: no covariance
        for arm in (slice(0, None, 2), slice(1, None, 2)):
            chosen[:, arm] -= chosen[:, arm].mean((0, 1, 2))
    return chosen.reshape(len(chosen), -1, chosen.shape[-1])


def _row_numbers(reading: Reading) -> np.ndarray:
    """Number of the row each token belongs to, counted over all probes, ``[tokens]``."""
    change = np.diff(reading.tokens["position"].values, prepend=1 << 30) <= 0
    return np.cumsum(change) - 1


def _covariance(left: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """-Cov inside groups and between their means (unbiased; see ``susceptibility_covariance``), ``[s, t]``."""
    inside = np.einsum("gns,gnt->gst", left, right) / left.shape[1]
    mean, other = left.mean(1)[:, :, None], right.mean(1)[:, None]
    inside -= mean * other
    between = covariance_of_means(mean, other)
    return summary(-(inside.mean(0) + between[0]), -(inside + between[1]))
