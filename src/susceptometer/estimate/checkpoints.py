"""Learning coefficients over checkpoints: the same noise at every checkpoint, so that differences are sharp."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from susceptometer.errors import ChainError
from susceptometer.estimate.estimate import Estimate, healthy_groups
from susceptometer.estimate.llc import rise
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.reading import Reading, read_here
from susceptometer.sampling.recipe import Recipe

Label = str | int


def llc_over(
    subjects: Mapping[Label, Subject], component: str, *, recipe: Recipe, seed: int, probe: str = "base"
) -> Estimate:
    """Sample one component at several checkpoints with one recipe and one seed, read on one probe.

    Group g walks on the same noise and the same mini-batches at every checkpoint, so what two checkpoints have in common
    cancels from their difference; see `compare_llc` and `llc_differences`.

    Args:
        subjects: The checkpoints by step or name, in order; same data and probe.
        component: Name of the component.
        recipe: How; without response arms unless chi is wanted too.
        seed: Names all random streams.
        probe: Whose loss is read.

    Shapes:
        returns     checkpoint (value, error), checkpoint other (covariance)
    """
    readings = {}
    for label, subject in subjects.items():
        lean = replace(subject, probes={name: subject.probes[name] for name in {"base", probe}})
        readings[label] = read_here(lean, {component: lean.components[component]}, recipe, seed=seed)
    return compare_llc(readings, component, probe=probe)


def compare_llc(
    readings: Mapping[Label, Reading], component: str, *, probe: str = "base", drop_failed: bool = False
) -> Estimate:
    r"""Learning coefficient of a component in several readings, with the covariance of their errors.

    ``covariance[a, b]`` = Cov over groups of the group values of a and b, over the number of groups. Groups are matched
    by number: on shared noise (equal seed and recipe) it is large; on other noise it is zero up to its own error, and
    everything stays right.

    Args:
        readings: By checkpoint, in order; groups that all of them hold are used.
        component: Name of the component.
        probe: Whose loss is read.
        drop_failed: Ignore groups that failed at any checkpoint instead of refusing.

    Shapes:
        returns     checkpoint (value, error), checkpoint other (covariance)

    Raises:
        ChainError: A chain failed, or fewer than two groups are common to all readings.
    """
    values = {}
    for label, reading in readings.items():
        cell = healthy_groups(reading.cell(component), f"{component} at {label}", drop_failed=drop_failed)
        rises = reading.recipe.n_beta * rise(reading, cell, probe)
        values[label] = dict(zip(cell["group"].values.tolist(), rises.tolist(), strict=True))
    common = sorted(set.intersection(*(set(one) for one in values.values())))
    if len(common) < 2:
        raise ChainError(
            "fewer than two groups are common to all checkpoints",
            where=component,
            value=common,
            why="errors of differences come from matched groups",
            do="read every checkpoint with the same groups",
        )
    table = np.array([[one[group] for group in common] for one in values.values()])
    covariance = np.atleast_2d(np.cov(table, ddof=1)) / len(common)
    labels = list(values)
    data = xr.Dataset(
        {
            "value": ("checkpoint", table.mean(1)),
            "error": ("checkpoint", np.sqrt(np.diag(covariance))),
            "covariance": (("checkpoint", "other"), covariance),
        },
        {"checkpoint": labels, "other": labels},
        {"component": component, "probe": probe},
    )
    return Estimate("llc", data, len(common), "1")


def llc_differences(estimate: Estimate) -> Estimate:
    """Value at ``checkpoint`` minus value at ``other`` for all pairs, with the error that matched groups give it.

    Error^2 = C_aa + C_bb - 2 C_ab: the standard error of the mean of the groups' own differences.

    Shapes:
        returns     checkpoint other
    """
    value, shared = estimate.value.values, estimate.data["covariance"].values
    own = np.diag(shared)
    square = np.maximum(own[:, None] + own[None] - 2 * shared, 0.0)
    dims, coords = ("checkpoint", "other"), estimate.data.coords
    data = xr.Dataset(
        {"value": (dims, value[:, None] - value[None]), "error": (dims, np.sqrt(square))}, coords, estimate.data.attrs
    )
    return Estimate(f"{estimate.name} difference", data, estimate.groups, estimate.unit)
