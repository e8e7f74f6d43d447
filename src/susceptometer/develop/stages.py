r"""Plateaus and transitions of a course, found with their uncertainty; what another quantity does meanwhile.

A plateau is a stretch in which the slope |d value/d log step| stays below a share of its largest, over at least a
factor in steps; a transition is what lies between two plateaus. Positions carry errors by resampling the values.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from susceptometer.develop.course import Course
from susceptometer.testbed.form import Array

SIGNIFICANT = 3.0


@dataclass(frozen=True)
class StageRule:
    """What counts as a stage.

    Args:
        flat: Largest slope on a plateau, as a share of the course's largest slope.
        factor: Least ratio of last to first step of a plateau.
        width: Smoothing of the course in log step.
        least: Least change between two plateaus, as a share of the course's whole range.
        resamples: Bootstrap draws behind the errors of a transition.
    """

    flat: float = 0.1
    factor: float = 3.0
    width: float = 0.1
    least: float = 0.02
    resamples: int = 200


@dataclass(frozen=True)
class Plateau:
    """A flat stretch.

    Args:
        start: First step.
        end: Last step.
        level: Mean value on it.
        error: Standard error of the level.
    """

    start: float
    end: float
    level: float
    error: float


@dataclass(frozen=True)
class Transition:
    """The passage between two plateaus.

    Args:
        before: The plateau left.
        after: The plateau reached.
        step: Where the course passes half-way between their levels.
        error: Standard error of ``step`` over resamples, in steps (0 for exact courses).
        support: Share of resamples in which a passage of the same sign is found.
    """

    before: Plateau
    after: Plateau
    step: float
    error: float
    support: float

    @property
    def change(self) -> float:
        """Level after minus level before."""
        return self.after.level - self.before.level


@dataclass(frozen=True)
class Paired:
    """What another quantity does across a transition.

    Args:
        transition: Of the first course.
        change: Mean of the second course on the later plateau minus that on the earlier one.
        error: Its standard error.
    """

    transition: Transition
    change: float
    error: float

    @property
    def significant(self) -> bool:
        """Whether the change exceeds three of its errors."""
        return abs(self.change) > SIGNIFICANT * self.error

    @property
    def opposing(self) -> bool:
        """Whether the second quantity moves significantly against the first."""
        return self.significant and self.change * self.transition.change < 0


def plateaus(course: Course, rule: StageRule) -> list[Plateau]:
    """Flat stretches of a course, in order."""
    smooth = course.smoothed(rule.width)
    slope = np.abs(np.gradient(smooth.values, smooth.clock))
    quiet = slope <= rule.flat * slope.max()
    found = []
    for first, last in _runs(quiet):
        start, end = float(course.steps[first]), float(course.steps[last])
        if end + 1 >= rule.factor * (start + 1):
            found.append(_plateau(course, first, last))
    return _merged(found, course, rule)


def transitions(course: Course, rule: StageRule | None = None, *, seed: int) -> list[Transition]:
    """Passages between plateaus, with the error of their step and their support.

    Args:
        course: The quantity.
        rule: What counts; None takes the defaults of ``StageRule``.
        seed: Names the resamples.
    """
    chosen = rule or StageRule()
    found = plateaus(course, chosen)
    draws = _resamples(course, chosen, seed)
    return [_transition(course, before, after, draws) for before, after in itertools.pairwise(found)]


def paired(transition: Transition, other: Course) -> Paired:
    """Change of another course between the two plateaus of a transition."""
    before, after = (_level(other, plateau) for plateau in (transition.before, transition.after))
    return Paired(transition, after[0] - before[0], float(np.hypot(after[1], before[1])))


def onset(course: Course, level: float) -> float:
    """First step at which a falling course is below ``level`` (interpolated in log step); nan if never."""
    below = np.flatnonzero(course.values < level)
    if len(below) == 0:
        return float("nan")
    i = int(below[0])
    if i == 0:
        return float(course.steps[0])
    high, low = course.values[i - 1], course.values[i]
    share = (high - level) / (high - low)
    return float(np.exp(course.clock[i - 1] + share * (course.clock[i] - course.clock[i - 1])) - 1)


def _runs(quiet: Array) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.r_[0, quiet.astype(int), 0]))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _plateau(course: Course, first: int, last: int) -> Plateau:
    part = slice(first, last + 1)
    error = float(np.sqrt((course.errors[part] ** 2).sum()) / (last + 1 - first))
    return Plateau(float(course.steps[first]), float(course.steps[last]), float(course.values[part].mean()), error)


def _merged(found: Sequence[Plateau], course: Course, rule: StageRule) -> list[Plateau]:
    """Neighbours of nearly equal level are one plateau."""
    least = rule.least * float(np.ptp(course.values))
    out: list[Plateau] = []
    for plateau in found:
        if out and abs(plateau.level - out[-1].level) < least:
            first = int(np.searchsorted(course.steps, out[-1].start))
            last = int(np.searchsorted(course.steps, plateau.end))
            out[-1] = _plateau(course, first, last)
        else:
            out.append(plateau)
    return out


def _resamples(course: Course, rule: StageRule, seed: int) -> list[tuple[Course, list[Plateau]]]:
    if not course.errors.any():
        return []
    generator = np.random.default_rng(seed)
    draws = [course.resampled(generator) for _ in range(rule.resamples)]
    return [(draw, plateaus(draw, rule)) for draw in draws]


def _transition(course: Course, before: Plateau, after: Plateau, draws: list) -> Transition:
    places, found = [], 0
    for draw, _ in draws:
        low, high = (_level(draw, plateau)[0] for plateau in (before, after))
        found += (high - low) * (after.level - before.level) > 0
        places.append(_half_way(draw, before, after, (low + high) / 2))
    error = float(np.nanstd(places)) if places else 0.0
    middle = _half_way(course, before, after, (before.level + after.level) / 2)
    return Transition(before, after, middle, error, found / len(draws) if draws else 1.0)


def _half_way(course: Course, before: Plateau, after: Plateau, level: float) -> float:
    """First passage of ``level`` between the end of one plateau and the start of the next."""
    first, last = (int(np.searchsorted(course.steps, s)) for s in (before.end, after.start))
    part = slice(first, last + 1)
    gap = (course.values[part] - level) * np.sign(after.level - before.level)
    crossed = np.flatnonzero(gap >= 0)
    if len(crossed) == 0 or crossed[0] == 0:
        return float(course.steps[first] if len(crossed) else np.nan)
    i = int(crossed[0])
    share = -gap[i - 1] / (gap[i] - gap[i - 1])
    clock = course.clock[part]
    return float(np.exp(clock[i - 1] + share * (clock[i] - clock[i - 1])) - 1)


def _level(course: Course, plateau: Plateau) -> tuple[float, float]:
    """Mean and error of a course on a plateau; between its checkpoints where none lies on it."""
    inside = (course.steps >= plateau.start) & (course.steps <= plateau.end)
    if not inside.any():
        return course.at(float(np.sqrt((plateau.start + 1) * (plateau.end + 1)) - 1))
    count = int(inside.sum())
    return float(course.values[inside].mean()), float(np.sqrt((course.errors[inside] ** 2).sum()) / count)
