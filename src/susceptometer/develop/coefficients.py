"""Learning coefficients over the checkpoints of a training run, from readings that were made one by one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from susceptometer.develop.course import Course
from susceptometer.develop.stages import Transition, transitions
from susceptometer.errors import DataError
from susceptometer.estimate.checkpoints import compare_llc, llc_differences
from susceptometer.estimate.estimate import Estimate, format_pm
from susceptometer.sampling.reading import Reading


@dataclass(frozen=True)
class Development:
    """lambda_hat of every common component over training.

    Args:
        llc: Component to its estimate over ``checkpoint`` (with the covariance of errors on shared noise).
        stages: Component to the transitions that its course shows (none where there are too few checkpoints).
    """

    llc: Mapping[str, Estimate]
    stages: Mapping[str, list[Transition]]

    def table(self) -> pd.DataFrame:
        """Columns component, step, value, error, change, change_error; the change is from the step before."""
        return pd.concat([_rows(name, found) for name, found in self.llc.items()], ignore_index=True)

    def __repr__(self) -> str:
        lines = []
        for name, rows in self.table().groupby("component", sort=False):
            lines.append(str(name))
            for row in rows.itertuples():
                change = "" if np.isnan(row.change) else f"  change {format_pm(row.change, row.change_error)}"
                lines.append(f"  step {row.step:>9,}  {format_pm(row.value, row.error)}{change}")
            lines += [
                f"  transition at step {t.step:,.0f} ± {t.error:,.0f}: {t.before.level:.3g} to {t.after.level:.3g}, "
                f"seen in {100 * t.support:.0f} % of resamples"
                for t in self.stages[str(name)]
            ]
        return "\n".join(lines)


def development(readings: Mapping[int, Reading], *, seed: int, drop_failed: bool = False) -> Development:
    """Coefficients of the components that all readings hold, in order of training step.

    Args:
        readings: Training step to reading; equal recipes and seeds make differences sharp (shared noise).
        seed: Names the resamples behind the errors of transitions.
        drop_failed: Look at the healthy groups only.

    Raises:
        DataError: Fewer than two readings, different recipes, or no common component.
        ChainError: A chain failed.
    """
    ordered = {step: readings[step] for step in sorted(readings)}
    _check(ordered)
    names = [name for name in next(iter(ordered.values())).cells if all(name in r.cells for r in ordered.values())]
    if not names:
        raise DataError("no component is in all readings", where="development", do="read the same ones everywhere")
    labelled: dict[str | int, Reading] = {step: ordered[step] for step in ordered}  # noqa: C416 - wider key type
    llc = {name: compare_llc(labelled, name, drop_failed=drop_failed) for name in names}
    return Development(llc, {name: _stages(found, seed) for name, found in llc.items()})


def course_of(found: Estimate) -> Course:
    """An estimate over checkpoints as a course."""
    steps = found.data["checkpoint"].to_numpy().astype(int)
    return Course("llc", steps, found.value.to_numpy(), found.error.to_numpy(), "1")


def _stages(found: Estimate, seed: int) -> list[Transition]:
    return transitions(course_of(found), seed=seed) if found.data.sizes["checkpoint"] >= 5 else []


def _check(readings: Mapping[int, Reading]) -> None:
    if len(readings) < 2:
        raise DataError(
            "development needs at least two checkpoints",
            where="development",
            value=list(readings),
            do="name the run folders of several checkpoints, and their steps with --steps where they cannot be told",
        )
    recipes = {repr(r.recipe.with_schedule(groups=1)) for r in readings.values()}
    if len(recipes) > 1:
        raise DataError(
            "the readings were made with different recipes",
            where="development",
            value=sorted(recipes)[:2],
            why="coefficients at different n_beta, gamma or step are different quantities",
            do="read every checkpoint with one recipe",
        )


def _rows(name: str, found: Estimate) -> pd.DataFrame:
    gaps = llc_differences(found)
    later, before = np.arange(1, found.value.size), np.arange(found.value.size - 1)
    return pd.DataFrame(
        {
            "component": name,
            "step": found.data["checkpoint"].to_numpy().astype(int),
            "value": found.value.to_numpy(),
            "error": found.error.to_numpy(),
            "change": np.r_[np.nan, gaps.value.to_numpy()[later, before]],
            "change_error": np.r_[np.nan, gaps.error.to_numpy()[later, before]],
        }
    )
