"""Learned solutions of the parentheses task as basins: their learning coefficients and their answers to the probes."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.basin import Basin, basin
from susceptometer.domains.parentheses import Strings, Task, encoded
from susceptometer.domains.parentheses_model import ClassifierConfig, class_losses
from susceptometer.domains.parentheses_probes import densities
from susceptometer.posterior.component import Component, whole_piece
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe
from susceptometer.types import Params


def read_strings(task: Task, rows: int) -> Strings:
    """The strings on which solutions are read: evenly spread over the training set, half TRUE, half FALSE."""
    return task.training()[np.linspace(0, task.pool - 1, rows).astype(np.int64)]


def solution_subject(params: Params, config: ClassifierConfig, strings: Strings, *, name: str) -> Subject:
    """One trained classifier as a subject: its loss per string, all its weights as the component ``full``."""
    data = encoded(strings)
    whole = Component("full", tuple(whole_piece(n, tuple(w.shape)) for n, w in params.items()))
    return Subject(
        name=name, params=params, loss=partial(class_losses, config=config), data=data, probes={"base": data},
        components={"full": whole},
    )  # fmt: skip


def solution_basin(params: Params, config: ClassifierConfig, strings: Strings, recipe: Recipe, *, seed: int) -> Basin:
    """Sample the local posterior of one trained classifier and read its answers to all probes of `PROPERTIES`.

    Raises:
        ChainError: A chain failed.
    """
    subject = solution_subject(params, config, strings, name=f"solution, reading {seed}")
    reading = read_here(subject, {"whole": subject.components["full"]}, recipe, seed=seed)
    return basin(reading, densities(strings)[1])


def anchors(wanted: NDArray[np.bool_], accuracy: NDArray[np.float64], count: int) -> Sequence[int]:
    """The first ``count`` models of a kind whose accuracy in distribution is one."""
    return [int(i) for i in np.flatnonzero(wanted & (accuracy == 1.0))[:count]]
