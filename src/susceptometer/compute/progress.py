"""What a running reading tells: cells done, time left, and R-hat of what is finished; and a bar that shows it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from susceptometer.compute.cells import Work
from susceptometer.compute.forecast import shown_time
from susceptometer.estimate.convergence import trace_health


@dataclass(frozen=True)
class Standing:
    """How far a reading is.

    Args:
        share: Part of the steps done, 0 to 1.
        cells: Cells done.
        of: Cells in all.
        component: What is running, or was last finished.
        seconds_left: Expected time left; NaN before the first step.
        rhat: R-hat of every component's loss over the groups finished so far (NaN for one group).
    """

    share: float
    cells: int
    of: int
    component: str
    seconds_left: float
    rhat: Mapping[str, float]


ProgressFn = Callable[[Standing], None]
"""Told the standing after steps and cells."""


@dataclass
class Meter:
    """Follows works and tells a listener; satisfies `cells.Watch`.

    Args:
        works: What is to be made.
        weight: Expected cost of each work, any unit.
        tell: The listener.
    """

    works: Sequence[Work]
    weight: Mapping[str, float]
    tell: ProgressFn
    rhat: dict[str, float] = field(default_factory=dict)
    _traces: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _spent: float = 0.0
    _cells: int = 0
    _begun: float = field(default_factory=time.perf_counter)

    def step(self, work: Work, done: int, steps: int) -> None:
        """A work has made some of its steps."""
        self._say(work.component, self._spent + self._cost(work) * done / steps)

    def done(self, work: Work, data: xr.Dataset) -> None:
        """A work is stored."""
        self._cells += 1
        self._spent += self._cost(work)
        traces = self._traces.setdefault(work.component, [])
        traces.append(data["loss"].values)
        joined = xr.Dataset({"loss": (("group", "member", "draw"), np.concatenate(traces))})
        self.rhat[work.component] = trace_health(joined)[1] if joined.sizes["group"] > 1 else float("nan")
        self._say(work.component, self._spent)

    def _cost(self, work: Work) -> float:
        return self.weight.get(work.component, 1.0)

    def _say(self, component: str, spent: float) -> None:
        whole = sum(self._cost(work) for work in self.works) or 1.0
        share = min(1.0, spent / whole)
        passed = time.perf_counter() - self._begun
        left = passed * (1 - share) / share if share > 0 else float("nan")
        self.tell(Standing(share, self._cells, len(self.works), component, left, dict(self.rhat)))


@contextmanager
def shown(progress: ProgressFn | bool) -> Iterator[ProgressFn]:
    """The listener to use: the given one, a bar on the terminal for True, or nothing."""
    if callable(progress):
        yield progress
    elif progress:
        with terminal_bar() as tell:
            yield tell
    else:
        yield _silent


@contextmanager
def terminal_bar() -> Iterator[ProgressFn]:
    """A rich progress bar on standard error with time left and live R-hat; nothing where it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("reading", total=1.0, text="")
        yield lambda now: bar.update(task, completed=now.share, description=now.component, text=standing_text(now))


def standing_text(now: Standing) -> str:
    """``5/32 cells, 40 s left, R-hat 1.01 (worst 1.03 at blocks.0.attn.head.2)``."""
    left = "" if np.isnan(now.seconds_left) else f", {shown_time(now.seconds_left)} left"
    known = {name: value for name, value in now.rhat.items() if np.isfinite(value)}
    if not known:
        return f"{now.cells}/{now.of} cells{left}"
    worst = max(known, key=lambda name: known[name])
    return f"{now.cells}/{now.of} cells{left}, R-hat at most {known[worst]:.2f} ({worst})"


def _silent(now: Standing) -> None:
    del now
