"""The Ray engine: cells on a local Ray that it starts itself, or on a running cluster that it joins.

A cell's numbers follow from its name (seed, component, groups) and a cell is stored in one atomic step, so it does not
matter where it is made or how often. A lost worker, a pre-empted node or a killed driver costs the cells that were
just being made and nothing else: lost cells are made again, and the same command goes on after a dead driver.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import xarray as xr

from susceptometer.compute.cell_file import write_cell
from susceptometer.compute.cells import Order, Watch, Work, cell_key, run_work
from susceptometer.compute.parcel import Outcome, Parcel, beacon, make_cell, packed
from susceptometer.compute.store import CELLS, tidy
from susceptometer.errors import RunError

AHEAD = 1
"""Cells that wait per core of the cluster beside those that run; they tell an autoscaler to add machines."""

LATE, LOOK_SECONDS = 2.0, 2.0
"""When nothing waits and cores are idle, a cell that takes this many times the median is made a second time; how often
that is looked at. Whichever copy comes first counts: they are equal."""


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """Makes cells on a Ray cluster; satisfies `cells.Engine`.

    Args:
        address: A running cluster (``auto``, ``host:6379``, ``ray://host:10001``); None: use the process's Ray, or
            start a local one, which ends with the process.
        workers: Worker processes of a Ray started here; None: one per core.
        gpus: GPUs per worker; None: 1 where the cluster has any, else 0. Workers with a GPU compute on it.
        losses: How often one cell may lose its worker before the reading gives up.
        announce: Told about lost workers.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    losses: int = 20
    announce: Callable[[str], None] | None = None

    def __call__(self, order: Order, works: Sequence[Work], watch: Watch) -> None:
        """Make all works.

        Raises:
            RunError: Ray is not installed, the cluster cannot be reached, a cell keeps losing its workers, or a cell
                cannot be stored.
            SubjectError: The subject can neither be sent nor made again by workers.
        """
        ray = ray_library()
        self._join(ray)
        with beacon(order.path) as token:
            submit = self._submitter(ray, packed(order, token))
            Dispatch(ray, order, watch, submit, self).run(works)
        tidy(order.path)

    def _join(self, ray: ModuleType) -> None:
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address is None:
                ray.init(num_cpus=self.workers or os.cpu_count(), include_dashboard=False, **quiet)
            else:
                ray.init(address=self.address, **quiet)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise RunError(
                "the Ray cluster cannot be joined",
                where="RayEngine",
                value=self.address or "a local Ray",
                why=str(error).split("\n", 1)[0],
                do="check `ray status` and the address, or leave it out to start a local Ray",
            ) from error

    def _submitter(self, ray: ModuleType, parcel: Parcel) -> Callable[[Work], Any]:
        """A function that asks the cluster for one cell; the parcel is stored in the cluster once."""
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        gpus = float(has_gpus) if self.gpus is None else self.gpus
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(make_cell)
        held, device = ray.put(parcel), "cuda" if gpus else "cpu"
        return lambda work: task.remote(partial(ray.get, held), parcel.token, work, device)


def ray_library() -> ModuleType:
    """Ray.

    Raises:
        RunError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise RunError(
            "Ray is not installed",
            where="engine 'ray'",
            value=str(error),
            why="it runs cells on many processes and machines",
            do="pip install 'susceptometer[cluster]', or use the engine 'local'",
        ) from error
    return ray


@dataclass
class Dispatch:
    """Hands works out, takes cells in, makes lost ones again, and at the end copies those that take too long."""

    ray: ModuleType
    order: Order
    watch: Watch
    submit: Callable[[Work], Any]
    engine: RayEngine
    running: dict[Any, tuple[Work, float]] = field(default_factory=dict)
    lost: Counter[Work] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def run(self, works: Sequence[Work]) -> None:
        """Make all works, in any order."""
        waiting = deque(works)
        try:
            while waiting or self.running:
                self._fill(waiting)
                ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=None if waiting else LOOK_SECONDS)
                for reference in ready:
                    work, _ = self.running.pop(reference)
                    if self._take(reference, work):
                        self._stop_copies(work)
                    elif not self._runs(work):
                        waiting.append(work)
        finally:
            for reference in self.running:
                self.ray.cancel(reference, force=True)

    def _fill(self, waiting: deque[Work]) -> None:
        cores = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        while waiting and len(self.running) < (1 + AHEAD) * cores:
            self._start(waiting.popleft())
        if not waiting and self.seconds:
            for work in self._late(cores - len(self.running)):
                self._start(work)

    def _start(self, work: Work) -> None:
        self.running[self.submit(work)] = (work, time.monotonic())

    def _late(self, idle: int) -> list[Work]:
        """Up to ``idle`` works, made once now, that take `LATE` times as long as cells usually do (waiting apart)."""
        counts, now = Counter(work for work, _ in self.running.values()), time.monotonic()
        limit = (AHEAD + LATE) * sorted(self.seconds)[len(self.seconds) // 2]
        late = [work for work, begun in self.running.values() if counts[work] == 1 and now - begun > limit]
        return late[: max(0, idle)]

    def _runs(self, work: Work) -> bool:
        return any(work == other for other, _ in self.running.values())

    def _stop_copies(self, work: Work) -> None:
        for reference in [key for key, (other, _) in self.running.items() if other == work]:
            del self.running[reference]
            self.ray.cancel(reference, force=True)

    def _take(self, reference: Any, work: Work) -> bool:
        """Receive one cell; False where its worker was lost."""
        errors = self.ray.exceptions
        try:
            outcome: Outcome = self.ray.get(reference)
        except errors.RayTaskError as error:
            raise RunError(
                "a worker cannot make a cell",
                where=work.component,
                value=str(error.cause),
                why="every other cell would meet the same error",
                do="install the same versions of susceptometer and torch on every machine of the cluster",
            ) from error
        except errors.RayError as error:
            self._note_loss(work, error)
            return False
        self.watch.done(work, self._stored(work, outcome))
        self.seconds.append(outcome.seconds)
        return True

    def _note_loss(self, work: Work, error: Exception) -> None:
        self.lost[work] += 1
        if self.engine.announce:
            kind = type(error).__name__
            self.engine.announce(f"a worker was lost ({kind}); its cell of {work.component} is made again")
        if self.lost[work] > self.engine.losses:
            raise RunError(
                "a cell keeps losing its worker",
                where=work.component,
                value=f"{self.lost[work]} times",
                why=f"the last time by {type(error).__name__}; finished cells are kept",
                do="look for a lack of memory on the workers, then give the same command again",
            ) from error

    def _stored(self, work: Work, outcome: Outcome) -> xr.Dataset:
        """The cell's arrays (or its loss traces), after making sure that it lies in the run folder."""
        if outcome.error is not None:
            raise outcome.error
        folder = self.order.path / CELLS / cell_key(self.order.card, work)
        if outcome.unseen or (outcome.card is None and not folder.exists()):
            return run_work(self.order, work)
        assert outcome.data is not None
        if outcome.card is not None:
            write_cell(folder, outcome.data, outcome.card)
        return outcome.data
