"""What the pieces of a cell cost, measured in a few seconds on some of its groups, rows and tokens, and scaled up.

A cell is: prefixes (once per place where components first act), a table of row gradients (once per component, where
gradients are centred), losses at w*, steps, draws, and the writing. Each piece is run as the sampler runs it, once
under `FlopCounterMode` and then against the clock. Operations scale exactly with groups, rows and tokens; seconds do
where the pieces are large, and where they are small the probe runs them whole.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path

import torch
import xarray as xr
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from susceptometer.compute.cell_file import ARRAYS, write_cell
from susceptometer.compute.cells import Order, Work, card_of
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.prefix import PrefixStore
from susceptometer.sampling.captured import advancing, noise_for
from susceptometer.sampling.moments import BLOCK_EVENTS, BLOCK_WEIGHTS
from susceptometer.sampling.noise import GroupBatches
from susceptometer.sampling.recipe import Recipe
from susceptometer.sampling.run import cell_dataset, note_separation, open_book, record
from susceptometer.types import Batch, rows_of, take

Shape = tuple[int, ...]

CLOCK = time.perf_counter
"""What seconds are: wall time; a benchmark on a busy machine may count those of the processor instead."""

PIECE_SECONDS = 0.08
"""Length of one pass that the probe aims for."""


def _cpu_attention(q: Shape, k: Shape, v: Shape, *_: object, **__: object) -> int:
    return sdpa_flop_count(q, k, v)


def _cpu_attention_backward(grad: Shape, q: Shape, k: Shape, v: Shape, *_: object, **__: object) -> int:
    return sdpa_backward_flop_count(grad, q, k, v)


def _added_product(_into: Shape, a: Shape, b: Shape, *_: object, **__: object) -> int:
    return 2 * prod(a) * b[-1]


UNCOUNTED = {
    torch.ops.aten.addmm_: _added_product,
    torch.ops.aten.baddbmm_: _added_product,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention,  # noqa: SLF001 - an operator's name
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _cpu_attention_backward,  # noqa: SLF001
}
"""Products that torch's counter does not know by itself."""


def flop_counter() -> FlopCounterMode:
    """A counter of floating-point operations (a product of two numbers and its addition: two)."""
    return FlopCounterMode(display=False, custom_mapping=UNCOUNTED)


@dataclass(frozen=True)
class Cost:
    """Seconds on this machine and floating-point operations of a piece."""

    seconds: float = 0.0
    flop: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.flop + other.flop)

    def __mul__(self, times: float) -> "Cost":
        return Cost(self.seconds * times, self.flop * times)


@dataclass(frozen=True)
class UnitCost:
    """Cost of one block of groups of one component, in pieces.

    Args:
        place: Prefixes of data and probes: once for all components that act from one place on.
        component: Table of row gradients and the check of the stages: once per component.
        start: Losses at w*: once per cell.
        step: One step of all chains of the block.
        draw: Recording one draw, beyond the step.
        write: Storing the cell.
        files: Bytes on disk of a small cell: variable -> (dims, entries, bytes); ``""``: everything else.
    """

    place: Cost
    component: Cost
    start: Cost
    step: Cost
    draw: Cost
    write: Cost
    files: dict[str, tuple[tuple[str, ...], int, int]]

    def cell(self, recipe: Recipe, *, later: bool = False, weights: bool = False) -> Cost:
        """One cell; ``later``: only other probes of chains that are stored (``weights``) or replayed."""
        steps = 0 if later and weights else recipe.schedule.steps
        return self.start + self.step * steps + self.draw * recipe.schedule.draws + self.write

    def seconds(self, recipe: Recipe) -> float:
        """Seconds of one cell."""
        return self.cell(recipe).seconds

    def stored(self, sizes: dict[str, int]) -> int:
        """Bytes on disk of a cell whose dims have these ``sizes``."""
        rest = self.files[""][2]
        return rest + sum(
            round(size * prod(sizes[dim] for dim in dims) / max(1, entries))
            for name, (dims, entries, size) in self.files.items()
            if name
        )


def measured(piece: Callable[[], object], seconds: float) -> Cost:
    """Mean time of a piece over some seconds after a first, counted run (the first itself where it takes far longer).

    A first run is cold and pays for the counting: on a 14M shape half as much again.
    """
    begun = CLOCK()
    with flop_counter() as counter:
        piece()
    first, flop = CLOCK() - begun, float(counter.get_total_flops())
    if first > 4 * seconds:
        return Cost(first, flop)
    begun, count = CLOCK(), 0
    while count == 0 or CLOCK() - begun < seconds:
        piece()
        count += 1
    return Cost((CLOCK() - begun) / count, flop)


@dataclass
class Trial:
    """One component's work on a part of its groups, data and probes.

    Args:
        order: The order.
        work: One of its works.
        seconds: Time to spend.
    """

    order: Order
    work: Work
    seconds: float

    def cost(self) -> UnitCost:
        """Every piece, scaled to one block of the whole work."""
        share, recipe, part = self.seconds / 6, self.recipe, self.part
        checks = measured(lambda: (part.stages, part.events), 0.0)
        prefix = measured(self._prefixes, share)
        table = measured(part.row_gradients, 0.0) if recipe.centered else Cost()
        self._begin()
        start = measured(self.book.moments.reader.center, share)
        step, draw = measured(self._step, share), measured(self._draws, share)
        write, files = self._written(share)
        tokens, groups = self.tokens / self.part_tokens, len(self.work.groups) / self.groups
        rows = self.rows / rows_of(part.subject.data)
        return UnitCost(
            place=prefix * ((self.tokens + self.rows * part.events) / (self.part_tokens + self._data_tokens)),
            component=checks + table * rows,
            start=start * tokens,
            step=step * (groups if recipe.batch_rows is not None else groups * rows),
            draw=draw * (groups * tokens / self.draws),
            write=write,
            files=files,
        )

    @property
    def recipe(self) -> Recipe:
        """How the work runs."""
        return self.order.card.recipe_of(self.work.component)

    @cached_property
    def whole(self) -> LocalPosterior:
        """The posterior of the work itself; nothing is computed with it but one row."""
        return self.order.posterior(self.work)

    @cached_property
    def tokens(self) -> int:
        """Tokens of all probes of the work."""
        return sum(rows_of(self.order.subject.probes[name]) for name in self.work.probes) * self.whole.events

    @cached_property
    def rows(self) -> int:
        """Data rows."""
        return rows_of(self.order.subject.data)

    @cached_property
    def row_seconds(self) -> float:
        """Seconds of one row of one chain, without gradient."""
        one = take(self.order.subject.data, torch.zeros(1, dtype=torch.int64))
        carry, center = self.whole.carry(one), self.whole.center[None]
        return measured(lambda: self.whole.losses(center, carry), PIECE_SECONDS / 4).seconds

    @cached_property
    def groups(self) -> int:
        """Groups of the trial: as many as keep a step short, all of them where the model is small."""
        seen = self.recipe.batch_rows or self.rows
        one = 6 * self.row_seconds * seen * self.recipe.coupling.members
        return max(1, min(len(self.work.groups), int(PIECE_SECONDS / one)))

    @cached_property
    def part(self) -> LocalPosterior:
        """The posterior on a part of data and probes."""
        chains = self.groups * self.recipe.coupling.members
        read = max(1, int(2 * PIECE_SECONDS / (self.row_seconds * chains)))
        seen = max(1, int(2 * PIECE_SECONDS / self.row_seconds))
        if self.recipe.batch_rows is None:
            seen = max(1, int(2 * PIECE_SECONDS / (3 * self.row_seconds * chains)))
        subject = self.order.subject
        data = _first(subject.data, max(seen, self.recipe.batch_rows or 1))
        held = _cut({name: subject.probes[name] for name in self.work.probes}, read)
        small = subject.with_data(data, held)
        return LocalPosterior(small, self.whole.component, self.recipe.n_beta, self.recipe.gamma)

    @cached_property
    def part_tokens(self) -> int:
        """Tokens of the probes that the trial reads."""
        return sum(map(rows_of, self.part.subject.probes.values())) * self.whole.events

    @cached_property
    def draws(self) -> int:
        """Draws that are recorded together."""
        chains = len(self.work.groups) * self.recipe.coupling.members
        base = rows_of(self.order.subject.probes["base"]) * self.whole.events
        weights = chains * len(self.whole.center)
        most = max(1, min(BLOCK_EVENTS // (chains * base), BLOCK_WEIGHTS // weights))
        return min(most, self.recipe.schedule.draws)

    @property
    def _data_tokens(self) -> int:
        return rows_of(self.part.subject.data) * self.whole.events

    def _prefixes(self) -> None:
        part = replace(self.part, prefixes=PrefixStore())
        part.data_carry(None)
        for batch in part.subject.probes.values():
            part.carry(batch)

    def _begin(self) -> None:
        recipe, groups = self.recipe, self.work.groups[: self.groups]
        self.part.data_carry(None)  # made once, and counted as a prefix
        self.short = recipe.with_schedule(burn_in=0, draws=self.draws, thin=1)
        self.book = open_book(self.part, self.short, self.groups)
        names, seed = (self.work.component,), self.order.card.seed
        noise = noise_for(seed, names, groups, coupling=recipe.coupling, center=self.part.center)
        batches = GroupBatches(self.part, recipe, seed=seed, groups=groups)
        chains = self.groups * recipe.coupling.members
        self.advance = advancing(self.part, recipe, batches, noise=noise, chains=chains)
        self.tilt = recipe.coupling.tilt(recipe.n_beta)

    def _step(self) -> None:
        self.state = self.advance(self.tilt)
        if self.recipe.coupling.responds:
            note_separation(self.book, self.state.position, 0)

    def _draws(self) -> None:
        self.book.waiting = [(draw, self.state.position) for draw in range(self.draws)]
        record(self.book, self.part, replace(self.order.card.own_keep, weights=False))

    def _written(self, seconds: float) -> tuple[Cost, dict]:
        data = cell_dataset(self.book, self.short, self.work.groups[: self.groups])
        with tempfile.TemporaryDirectory() as folder:
            names = (Path(folder) / f"{number}" for number in range(1 << 30))
            card = card_of(self.order, self.work)
            write = measured(lambda: write_cell(next(names), data, card), seconds)
            return Cost(write.seconds), disk_sizes(Path(folder) / "0", data)


def disk_sizes(cell: Path, data: xr.Dataset) -> dict[str, tuple[tuple[str, ...], int, int]]:
    """Bytes on disk of every variable of a stored cell, and under ``""`` of what does not grow with it."""
    found: dict[str, tuple[tuple[str, ...], int, int]] = {}
    rest = sum(path.stat().st_size for path in cell.rglob("*.json"))
    for name, value in data.variables.items():
        chunks = (path for path in (cell / ARRAYS / str(name)).rglob("*") if path.is_file() and path.suffix != ".json")
        found[str(name)] = (tuple(map(str, value.dims)), value.size, sum(path.stat().st_size for path in chunks))
    return {**found, "": ((), 0, rest)}


def _first(batch: Batch, rows: int) -> Batch:
    return take(batch, torch.arange(min(rows, rows_of(batch))))


def _cut(probes: dict[str, Batch], rows: int) -> dict[str, Batch]:
    """The first rows of the probes, ``base`` first, until there are enough."""
    held: dict[str, Batch] = {}
    for name, batch in probes.items():
        if rows > 0:
            held[name] = _first(batch, rows)
            rows -= rows_of(held[name])
    return held
