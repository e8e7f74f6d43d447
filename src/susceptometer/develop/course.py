"""A course: one quantity at the checkpoints of one run, with its error."""

from dataclasses import dataclass

import numpy as np

from susceptometer.errors import DataError
from susceptometer.testbed.form import Array


@dataclass(frozen=True, eq=False)
class Course:
    """Values at training steps.

    Args:
        name: What it is, e.g. ``regret`` or ``llc``.
        steps: Training steps, increasing, ``[T]``.
        values: The quantity, ``[T]``.
        errors: Its standard errors, ``[T]``; zeros for exact values.
        unit: Unit of values and errors.

    Raises:
        DataError: Lengths differ, steps do not increase, a value is not finite, or fewer than 3 checkpoints.
    """

    name: str
    steps: Array
    values: Array
    errors: Array
    unit: str = ""

    def __post_init__(self) -> None:
        sizes = {len(self.steps), len(self.values), len(self.errors)}
        if len(sizes) != 1 or len(self.steps) < 3 or (np.diff(self.steps) <= 0).any():
            raise DataError(
                "not a course of training",
                where=self.name,
                value=f"{sorted(sizes)} entries",
                why="stages are found between increasing steps",
                do="give at least 3 checkpoints in order of training",
            )
        if not np.isfinite(self.values).all() or not np.isfinite(self.errors).all():
            bad = self.steps[~(np.isfinite(self.values) & np.isfinite(self.errors))]
            raise DataError("a value is not finite", where=self.name, value=bad.tolist()[:8], do="leave it out")

    @property
    def clock(self) -> Array:
        """log(step + 1) ``[T]``: early checkpoints are dense, and stages are long in proportion to their age."""
        return np.log(np.asarray(self.steps, dtype=float) + 1)

    def at(self, step: float) -> tuple[float, float]:
        """Value and error at a step, interpolated linearly in the clock (errors as if of one measurement)."""
        place = np.log(step + 1)
        return float(np.interp(place, self.clock, self.values)), float(np.interp(place, self.clock, self.errors))

    def smoothed(self, width: float) -> "Course":
        """Gaussian kernel average in log step; errors are those of the weighted mean.

        Args:
            width: Kernel width in units of log step (0.05 is 5 % of a step's age); 0 leaves the course as it is.
        """
        if width <= 0:
            return self
        gap = (self.clock[:, None] - self.clock[None]) / width
        weight = np.exp(-(gap**2) / 2)
        weight /= weight.sum(1, keepdims=True)
        errors = np.sqrt((weight**2) @ self.errors**2)
        return Course(self.name, self.steps, weight @ self.values, errors, self.unit)

    def resampled(self, generator: np.random.Generator) -> "Course":
        """A parametric bootstrap draw: values plus normal errors."""
        values = self.values + self.errors * generator.standard_normal(len(self.values))
        return Course(self.name, self.steps, values, self.errors, self.unit)
