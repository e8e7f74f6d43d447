"""What a command line asks for, as a recipe and an engine."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from susceptometer.compute.cells import Engine, run_here
from susceptometer.errors import RecipeError
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.recipe import SAMPLERS, Recipe, Schedule, recipe_from_dict


def asked_recipe(given: Namespace) -> Recipe:
    """The recipe of a file, or of the options.

    Raises:
        RecipeError: The file cannot be read as a recipe.
    """
    if given.recipe:
        try:
            stored = recipe_from_dict(json.loads(Path(given.recipe).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecipeError(
                "a recipe cannot be read",
                where=given.recipe,
                value=str(error),
                do="write it with `susceptometer calibrate MODEL COMPONENT --out FILE`",
            ) from error
        return stored.with_schedule(groups=given.groups) if given.groups else stored
    schedule = Schedule(groups=given.groups or 8, burn_in=given.burn_in, draws=given.draws, thin=given.thin)
    sampler = SAMPLERS[given.sampler](step_size=given.step_size)
    return Recipe(
        sampler=sampler, schedule=schedule, n_beta=given.n_beta, gamma=given.gamma,
        coupling=Coupling(h=given.h), batch_rows=given.batch_rows or None,
    )  # fmt: skip


def asked_engine(given: Namespace, say: Callable[[str], None]) -> Engine:
    """Where cells run: here, or on Ray."""
    from susceptometer.compute.ray_engine import RayEngine

    if given.engine == "ray" or given.ray_address:
        return RayEngine(address=given.ray_address, workers=given.workers, announce=say)
    return run_here
