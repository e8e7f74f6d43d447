"""Shares of runs with their intervals, and differences of shares."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from susceptometer.errors import DataError


@dataclass(frozen=True)
class Share:
    """``count`` of ``runs`` independent runs."""

    count: int
    runs: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.runs or self.runs < 1:
            raise DataError("no share", where="Share", value=(self.count, self.runs), do="count runs of at least one")

    @property
    def value(self) -> float:
        """The share."""
        return self.count / self.runs

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's interval."""
        ends = stats.binomtest(self.count, self.runs).proportion_ci(level, method="wilson")
        return float(ends.low), float(ends.high)

    @property
    def logit(self) -> float:
        """Log-odds with half a run added on both sides, so that none and all stay finite."""
        return float(np.log((self.count + 0.5) / (self.runs - self.count + 0.5)))

    @property
    def logit_error(self) -> float:
        """Standard error of `logit` (delta method, the same half runs)."""
        return float(np.sqrt(1 / (self.count + 0.5) + 1 / (self.runs - self.count + 0.5)))

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.count}/{self.runs} = {self.value:.0%} [{low:.0%}, {high:.0%}]"


def share(flags: ArrayLike) -> Share:
    """The share of true values, ``[runs]``."""
    values: NDArray[np.bool_] = np.asarray(flags, bool)
    return Share(int(values.sum()), len(values))


def fisher(one: Share, other: Share) -> float:
    """Two-sided exact p-value that two shares are equal (independent runs)."""
    table = [[one.count, one.runs - one.count], [other.count, other.runs - other.count]]
    return float(stats.fisher_exact(table).pvalue)


def apart(one: Share, other: Share) -> bool:
    """Whether the Wilson intervals do not touch."""
    a, b = one.interval(), other.interval()
    return a[0] > b[1] or b[0] > a[1]
