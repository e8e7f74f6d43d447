"""What a reading will cost, from a probe of a few seconds: time, floating-point operations, bytes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import xarray as xr
from torch.utils.flop_counter import FlopCounterMode

from susceptometer.compute.cells import Order, Work
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling.recipe import Recipe
from susceptometer.sampling.run import run_cell

PROBE_SECONDS = 3.0
"""Time given to the probe, all components together."""

PROBED = 2
"""Components timed at most; the others are taken to cost as much per weight-independent step."""


@dataclass(frozen=True)
class UnitCost:
    """Cost of one block of groups of one component.

    Args:
        start: Seconds before the first step (prefixes, losses at w*).
        step: Seconds per step of all chains of the block.
        draw: Seconds per recorded draw, beyond the step.
        step_flop: Floating-point operations per step.
        draw_flop: Floating-point operations per draw.
        size: Bytes of a stored cell with one draw, kept weights and traces left out.
    """

    start: float
    step: float
    draw: float
    step_flop: float
    draw_flop: float
    size: int

    def seconds(self, recipe: Recipe, *, later: bool = False, weights: bool = False) -> float:
        """Seconds of one cell; ``later``: only other probes of chains that are stored (``weights``) or replayed."""
        steps = 0 if later and weights else recipe.schedule.steps
        return self.start + steps * self.step + recipe.schedule.draws * self.draw


@dataclass(frozen=True)
class Forecast:
    """What is still to be done; prints as one line.

    Args:
        cells: Cells to make, of ``components`` components.
        components: Components concerned.
        seconds: Expected wall time on this machine.
        flop: Floating-point operations.
        bytes: Bytes that will be stored (``weight_bytes`` of them kept weights).
        weight_bytes: Bytes of kept weights.
        memory: Bytes of moments held while a cell runs.
    """

    cells: int
    components: int
    seconds: float
    flop: float
    bytes: int
    weight_bytes: int
    memory: int

    def __str__(self) -> str:
        kept = f" ({shown_bytes(self.weight_bytes)} of weights)" if self.weight_bytes else ""
        return (
            f"{self.cells} cells of {self.components} components: about {shown_time(self.seconds)}, "
            f"{self.flop:.2g} FLOP, {shown_bytes(self.bytes)} on disk{kept}, "
            f"moments {shown_bytes(self.memory)} in memory"
        )


@dataclass
class Stopwatch:
    """Wall time at the end of every step of a cell."""

    begun: float = field(default_factory=time.perf_counter)
    ends: list[float] = field(default_factory=list)

    def __call__(self, done: int, steps: int) -> None:
        """Note the end of a step."""
        del done, steps
        self.ends.append(time.perf_counter())

    def durations(self) -> list[float]:
        """Seconds of each step, the first including the start."""
        return [b - a for a, b in zip([self.begun, *self.ends], self.ends, strict=False)]


def unit_costs(order: Order, works: Sequence[Work], seconds: float = PROBE_SECONDS) -> dict[str, UnitCost]:
    """Cost per component, by running a few steps of up to `PROBED` of them; nothing is stored."""
    names = list(dict.fromkeys(work.component for work in works))
    picked = names if len(names) <= PROBED else [names[0], names[-1]]
    first = {work.component: work for work in reversed(works)}
    measured = {name: unit_cost(order, first[name], seconds / len(picked)) for name in picked}
    return {name: measured.get(name) or _typical(order, name, measured) for name in names}


def _typical(order: Order, name: str, measured: Mapping[str, UnitCost]) -> UnitCost:
    """The measured component whose size and place come nearest."""
    del order
    places = list(measured)
    return measured[max(places, key=lambda other: _common(name, other))]


def _common(one: str, other: str) -> int:
    return sum(a == b for a, b in zip(one.split("."), other.split("."), strict=False))


def unit_cost(order: Order, work: Work, seconds: float) -> UnitCost:
    """Time some steps and draws of one block."""
    posterior, recipe = order.posterior(work), order.card.own_recipe
    warm = recipe.sampler.warm_up
    short = recipe.with_schedule(burn_in=warm + 3, draws=2, thin=1)
    watch = Stopwatch()
    data, flop = _counted(posterior, short, work, order.card.seed)
    begun = time.perf_counter()
    best: list[list[float]] = []
    while not best or time.perf_counter() - begun < seconds * 0.6:
        watch = Stopwatch()
        run_cell(posterior, short, seed=order.card.seed, groups=work.groups, progress=watch)
        best.append(watch.durations())
    steps = [min(column) for column in zip(*best, strict=True)]
    step = min(steps[1 : warm + 3])
    draw = max(0.0, sum(steps[-2:]) / 2 - step)
    return UnitCost(max(0.0, best[0][0] - step), step, draw, *flop, data.nbytes * len(work.groups))


def _counted(
    posterior: LocalPosterior, recipe: Recipe, work: Work, seed: int
) -> tuple[xr.Dataset, tuple[float, float]]:
    """A short run of one group, and the operations of one step and of one draw of all groups."""
    counts, share = [], len(work.groups)
    posterior.data_carry(torch.zeros(1, dtype=torch.int64))  # the prefix of the data is made once
    for extra in (0, 1):
        short = recipe.with_schedule(draws=1, burn_in=recipe.sampler.warm_up + extra)
        with FlopCounterMode(display=False) as counter:
            data = run_cell(posterior, short, seed=seed, groups=work.groups[:1])
        counts.append(share * float(counter.get_total_flops()))
    step = counts[1] - counts[0]
    return data, (step, max(0.0, counts[0] - (recipe.sampler.warm_up + 1) * step))


def forecast(order: Order, works: Sequence[Work], costs: Mapping[str, UnitCost]) -> Forecast:
    """Cost of making ``works``."""
    recipe, keep = order.card.own_recipe, order.card.own_keep
    later = {work: work.earlier is not None for work in works}
    schedule, members = recipe.schedule, recipe.coupling.members
    chains = order.card.block * members
    weights = {w: _weight_bytes(order, w, chains) if keep.weights and not later[w] else 0 for w in works}
    cost = [costs[work.component] for work in works]
    trace = chains * schedule.draws * 16 + order.card.block * recipe.coupling.signs * schedule.steps * 4
    stored = sum(c.size + trace for c in cost) + sum(weights.values())
    flop = sum(
        (0 if later[w] and keep.weights else schedule.steps) * c.step_flop + schedule.draws * c.draw_flop
        for w, c in zip(works, cost, strict=True)
    )
    return Forecast(
        cells=len(works),
        components=len({work.component for work in works}),
        seconds=sum(c.seconds(recipe, later=later[w], weights=keep.weights) for w, c in zip(works, cost, strict=True)),
        flop=flop,
        bytes=int(stored),
        weight_bytes=sum(weights.values()),
        memory=max((c.size + trace for c in cost), default=0),
    )


def _weight_bytes(order: Order, work: Work, chains: int) -> int:
    return 4 * chains * order.card.own_recipe.schedule.draws * len(order.components[work.component])


def kept_bytes(order: Order, works: Sequence[Work]) -> int:
    """Bytes that kept weights would take, whether or not they are asked for."""
    chains = order.card.block * order.card.own_recipe.coupling.members
    return sum(_weight_bytes(order, work, chains) for work in works if work.earlier is None)


def shown_bytes(size: float) -> str:
    """``3.1 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return ""


def shown_time(seconds: float) -> str:
    """``42 s``, ``3 min 10 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
