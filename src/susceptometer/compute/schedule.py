"""Where more groups go: to the components whose error is largest, until a target or a budget is met."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from susceptometer.compute.pieces import UnitCost
from susceptometer.errors import ChainError, RecipeError
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import susceptibility
from susceptometer.sampling.reading import Reading
from susceptometer.sampling.recipe import Recipe

GROWTH = 2.0
"""A component's groups grow by at most this factor before its error is estimated again."""

MOST_GROUPS = 4096


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What adaptive rounds aim for.

    Args:
        target_se: Standard error that no component shall exceed, in the unit of ``of``; None: no target.
        budget: Seconds of wall time for the whole reading; None: no budget.
        of: ``llc`` (error of lambda-hat) or ``chi`` (median over tokens of the error, nats^2).

    Raises:
        RecipeError: Neither or a non-positive value is given, or ``of`` is unknown.
    """

    target_se: float | None = None
    budget: float | None = None
    of: str = "llc"

    def __post_init__(self) -> None:
        given = [value for value in (self.target_se, self.budget) if value is not None]
        if not given or min(given) <= 0 or self.of not in ("llc", "chi"):
            raise RecipeError(
                "a goal needs a positive target_se or budget, of 'llc' or 'chi'",
                where="Goal",
                value=(self.target_se, self.budget, self.of),
                why="rounds would never end or never begin",
                do="use e.g. Goal(target_se=0.2) or Goal(budget=7200.0)",
            )


def errors(reading: Reading, of: str) -> dict[str, float]:
    """Error of every component; components with sick or too few chains are left out."""
    found = {}
    for name in reading.components:
        alone = replace(reading, cells={name: reading.cell(name)})
        try:
            estimate = llc(alone) if of == "llc" else susceptibility(alone)
        except ChainError:
            continue
        found[name] = float(np.nanmedian(estimate.error.values))
    return found


def next_groups(
    now: Mapping[str, int],
    error: Mapping[str, float],
    goal: Goal,
    *,
    seconds: Mapping[str, float],
    left: float,
    block: int,
) -> dict[str, int]:
    """How many groups each component should have after the next round.

    Adds blocks one by one to the component whose expected error (falling as 1/sqrt(groups)) is largest.

    Args:
        now: Groups of every component.
        error: Its standard error; components without one get nothing.
        goal: Where to stop.
        seconds: Expected seconds of one more block.
        left: Seconds left of the budget; infinite without one.
        block: Groups per cell.

    Returns:
        Component to groups; equal to ``now`` where nothing more is needed or affordable.
    """
    groups, expected = dict(now), dict(error)
    while expected:
        name = max(expected, key=lambda key: expected[key])
        if goal.target_se is not None and expected[name] <= goal.target_se:
            break
        more = groups[name] + block
        if more > max(GROWTH * now[name], now[name] + block) or more > MOST_GROUPS or seconds[name] > left:
            del expected[name]
            continue
        expected[name] *= (groups[name] / more) ** 0.5
        groups[name], left = more, left - seconds[name]
    return groups


def block_seconds(costs: Mapping[str, UnitCost], recipe: Recipe) -> dict[str, float]:
    """Expected seconds of one block of each component."""
    return {name: cost.seconds(recipe) for name, cost in costs.items()}


def goal_text(goal: Goal, error: Mapping[str, float]) -> str:
    """Where the errors stand, in one line."""
    if not error:
        return "no component has an error yet"
    worst = max(error, key=lambda name: error[name])
    wish = "" if goal.target_se is None else f", target {goal.target_se:.3g}"
    return f"largest standard error of {goal.of}: {error[worst]:.3g} ({worst}){wish}"
