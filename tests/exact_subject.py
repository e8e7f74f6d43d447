"""Subjects with exact answers, short recipes for them, and scores between groups."""

from dataclasses import replace

import numpy as np
import torch
from scipy import stats

from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import independent
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.testbed.form import Form
from susceptometer.testbed.gaussian import Quadratic

K = 5.0  # standard errors between at least 32 groups: |t_31| > 5 has probability 2e-5


def subject(system, *, data=None, loss=None, probes=None):
    """A testbed system as a subject: one component per parameter, and ``full``."""
    center = system.center
    parts = {name: whole_component(name, center, only=(name,)) for name in center}
    return Subject(
        "testbed", center, loss or system.loss, data or system.data,
        {"base": system.data, **(probes or {})}, {**parts, "full": whole_component("full", center)},
    )  # fmt: skip


def noisy_subject(system, noise, rows=1024):
    """The same answers, but data rows whose gradients scatter: covariance ``noise`` [D, D], everywhere.

    Every data row is L itself plus a linear term of mean zero, so the mini-batch noise is normal (to the
    number of rows) and does not depend on the weights; the probe still holds the system's own tokens.
    """
    extra, size = len(system.tokens.constant), system.anchor.size
    tables = zip(vars(system.tokens).values(), vars(system.tokens.average()).values(), strict=True)
    wider = Quadratic(Form(*(np.concatenate([a, b[None]]) for a, b in tables)), system.anchor, system.parts)
    half = np.random.default_rng(5).standard_normal((rows // 2, size))
    tilts = np.concatenate([half, -half])
    white = tilts @ np.linalg.inv(np.linalg.cholesky(tilts.T @ tilts / rows)).T
    root = np.linalg.cholesky(noise + 1e-30 * np.eye(size))

    def loss(params, batch):
        shift = torch.cat([params[name] for name in system.center]) - torch.as_tensor(system.anchor)
        return wider.loss(params, batch) + batch["tilt"] @ shift

    data = {"index": torch.full((rows,), extra), "tilt": torch.as_tensor(white @ root.T)}
    base = {"index": torch.arange(extra), "tilt": torch.zeros(extra, size, dtype=torch.float64)}
    return subject(system, data=data, loss=loss, probes={"base": base})


def recipe(sampler, temper, *, coupling=None, schedule=(), **settings):
    """A recipe from a sampler, ``temper`` = (n_beta, gamma) and ``schedule`` = (groups, burn_in, draws[, thin])."""
    names = ("groups", "burn_in", "draws", "thin")
    counts = Schedule(**dict(zip(names, schedule, strict=False)))
    return Recipe(
        sampler=sampler, schedule=counts, n_beta=temper[0], gamma=temper[1],
        coupling=coupling or independent(), **settings,
    )  # fmt: skip


def read(model, plan, seed, *, components=("full",), keep=None):
    """A reading in memory of some components of a subject."""
    return read_here(model, {name: model.components[name] for name in components}, plan, seed=seed, keep=keep)


def split(reading, size):
    """Disjoint readings of ``size`` groups each: independent repetitions from one batched run."""
    cells = reading.cells
    count = next(iter(cells.values())).sizes["group"] // size
    for i in range(count):
        part = slice(i * size, (i + 1) * size)
        yield replace(reading, cells={name: cell.isel(group=part) for name, cell in cells.items()})


def score(values, exact):
    """(mean - exact) / standard error over the groups of axis 0; the entry of largest size."""
    values = np.asarray(values, dtype=np.float64)
    assert len(values) >= 32, "errors between fewer than 32 groups have long tails"
    error = np.maximum(values.std(0, ddof=1) / np.sqrt(len(values)), 1e-300)
    z = np.atleast_1d((values.mean(0) - exact) / error).ravel()
    return float(z[np.abs(z).argmax()])


def worst(estimate, exact):
    """The largest |z| of an estimate's values, for estimates from at least 32 groups."""
    assert estimate.groups >= 32
    return float(np.abs(estimate.z(exact)).max())


def enough_draws(cell, floor):
    """Whether the loss has ``floor`` effective draws, from the spread of one draw against that of group means."""
    loss = cell["loss"].mean("member").values
    return len(loss) * loss.var() / loss.mean(1).var(ddof=1) >= floor


def band(level, count, k=4.0):
    """Interval in which the observed coverage of ``count`` repetitions at ``level`` must lie."""
    half = k * np.sqrt(level * (1 - level) / count)
    return level - half, level + half


def covered(low, high, exact):
    """Share of intervals that hold the exact value."""
    return float(np.mean((np.asarray(low) <= exact) & (exact <= np.asarray(high))))


def t_quantile(groups, level=0.95):
    """Half width of a t interval in standard errors."""
    return float(stats.t.ppf(0.5 + level / 2, groups - 1))
