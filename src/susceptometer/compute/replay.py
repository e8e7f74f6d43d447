"""Other probes for chains that were already sampled: from stored weights, or by running them again by seed."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr

from susceptometer.compute.cell_file import read_arrays
from susceptometer.errors import RunError
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling.moments import Moments, ProbeReader
from susceptometer.sampling.recipe import Recipe
from susceptometer.sampling.run import Progress

REPLAY_TOLERANCE = 1e-4
"""Relative difference of loss traces above which a replay is not the same chain."""


def evaluated(posterior: LocalPosterior, recipe: Recipe, earlier: Path, progress: Progress | None = None) -> xr.Dataset:
    """Moments of the posterior's probes at the stored weights of an earlier cell; nothing is sampled.

    Raises:
        RunError: The earlier cell is damaged.
    """
    old = read_arrays(earlier)
    weights = torch.from_numpy(old["kept_weights"].values).to(posterior.center)
    groups, members, draws, _ = weights.shape
    moments = Moments(
        ProbeReader(posterior, groups * members), recipe.coupling,
        groups=groups, draws=draws, tilt=recipe.coupling.tilt(recipe.n_beta),
    )  # fmt: skip
    for first in range(0, draws, moments.reader.block):
        part = weights[:, :, first : first + moments.reader.block].flatten(0, 1)
        moments.update(part.transpose(0, 1), first)
        if progress is not None:
            progress(min(first + moments.reader.block, draws), draws)
    return _like(old, moments)


def _like(old: xr.Dataset, moments: Moments) -> xr.Dataset:
    kept = ["distance2", "separation", "status", "failed_step"]
    new = {
        "loss": (("group", "member", "draw"), moments.loss.numpy()),
        "sum_l": (("group", "token"), moments.sum_l.numpy()),
        "sum_gl": (("group", "token"), moments.sum_gl.numpy()),
        "pair": (("group", "half", "token"), moments.pair.numpy()),
        "center_loss": (("token",), moments.center.numpy()),
    }
    return old[kept].assign(new).assign_attrs(old.attrs)


def same_chains(earlier: Path, now: xr.Dataset) -> None:
    """Require that a replay walked the same path as the stored cell.

    Raises:
        RunError: The loss traces differ.
    """
    old, new = read_arrays(earlier)["loss"].values, now["loss"].values
    gap = np.nanmax(np.abs(old - new), initial=0.0)
    if gap > REPLAY_TOLERANCE * max(np.nanmax(np.abs(old), initial=0.0), 1e-12):
        raise RunError(
            "the replay is not the stored chain",
            where=str(earlier),
            value=f"losses differ by {gap:.3g} nats",
            why="other weights would be read with the new text",
            do="replay with the versions and threads of run.json, or read again with Keep(weights=True)",
        )
