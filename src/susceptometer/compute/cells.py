"""Cells: one component, a block of groups, some probes; planned, independent of each other, resumable."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
import xarray as xr

from susceptometer.compute.cell_file import write_cell
from susceptometer.compute.identity import digest
from susceptometer.compute.replay import evaluated, same_chains
from susceptometer.compute.store import CELLS, RunCard, StoredCell
from susceptometer.posterior.component import Component
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.prefix import PrefixStore
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.run import Keep, Progress, run_cell
from susceptometer.types import rows_of


@dataclass(frozen=True)
class Work:
    """One cell to be made.

    Args:
        component: Name of the component.
        groups: Absolute numbers of the groups, one block.
        probes: Probes to read, ``base`` first.
        earlier: Folder of the cell that sampled these chains, if only other probes are wanted now.
    """

    component: str
    groups: tuple[int, ...]
    probes: tuple[str, ...]
    earlier: Path | None = None


@dataclass(frozen=True)
class Order:
    """Everything that any work of a run needs; may be sent to another process.

    Args:
        path: The run folder.
        card: What is read and how.
        subject: The subject, with all probes.
        components: Component by name.
        prefixes: Holds frozen prefixes for all works.
    """

    path: Path
    card: RunCard
    subject: Subject
    components: Mapping[str, Component]
    prefixes: PrefixStore = field(default_factory=PrefixStore, repr=False, compare=False)
    _kept: dict[object, LocalPosterior] = field(default_factory=dict, repr=False, compare=False)

    def posterior(self, work: Work) -> LocalPosterior:
        """The posterior of a work; the last one is kept, since blocks of a component share it."""
        key = (work.component, work.probes)
        if key not in self._kept:
            self._kept.clear()
            probes = {name: self.subject.probes[name] for name in work.probes}
            subject = self.subject.with_data(self.subject.data, probes)
            recipe, part = self.card.own_recipe, self.components[work.component]
            self._kept[key] = LocalPosterior(subject, part, recipe.n_beta, recipe.gamma, prefixes=self.prefixes)
        return self._kept[key]


class Engine(Protocol):
    """Where cells run: ``run_here`` in this process, or another with the same promise.

    Makes every work with `run_work`, in any order, and tells the watch.
    """

    def __call__(self, order: Order, works: Sequence[Work], watch: "Watch") -> None:
        """Make all works."""
        ...


class Watch(Protocol):
    """Told what happens: ``step`` within a work (steps done, steps in all), ``done`` after it."""

    def step(self, work: Work, done: int, steps: int) -> None:
        """A work has made ``done`` of its ``steps``."""
        ...

    def done(self, work: Work, data: xr.Dataset) -> None:
        """A work is stored; ``data`` is its cell."""
        ...


def run_here(order: Order, works: Sequence[Work], watch: Watch) -> None:
    """The local engine: one work after the other in this process."""
    for work in works:
        data = run_work(order, work, partial(watch.step, work))
        watch.done(work, data)


def run_work(order: Order, work: Work, progress: Progress | None = None) -> xr.Dataset:
    """Make one cell and store it.

    Raises:
        RunError: It cannot be stored, or a replay does not repeat its chains.
    """
    data = made(order, work, progress)
    write_cell(order.path / CELLS / cell_key(order.card, work), data, card_of(order, work))
    return data


def made(order: Order, work: Work, progress: Progress | None) -> xr.Dataset:
    """The arrays of a cell: sampled, evaluated from stored weights, or replayed from the seed."""
    posterior, card = order.posterior(work), order.card
    recipe = card.recipe_of(work.component)
    exact = posterior.center.dtype == torch.float32
    if work.earlier is not None and card.own_keep.weights and exact:
        return evaluated(posterior, recipe, work.earlier, progress)
    keep = card.own_keep if work.earlier is None else Keep(tokens=card.own_keep.tokens)
    data = run_cell(posterior, recipe, seed=card.seed, groups=work.groups, keep=keep, progress=progress)
    if work.earlier is not None:
        same_chains(work.earlier, data)
    return data


def cell_key(card: RunCard, work: Work) -> str:
    """Hash of everything that a cell's numbers depend on: the name of its folder."""
    part = card.wanted[work.component]
    texts = [text for name in work.probes for text in (name, card.probes[name])]
    own = ["without arms"] if card.recipe_of(work.component) != card.own_recipe else []
    return digest([card.key, work.component, str(part["hash"]), str(work.groups), *texts, str(card.keep), *own])


def card_of(order: Order, work: Work) -> dict[str, Any]:
    """What `cell.json` says of a cell."""
    batches, events = order.subject.probes, order.posterior(work).events
    return {
        "run": order.card.key,
        "component": work.component,
        "mask": order.card.wanted[work.component]["hash"],
        "groups": list(work.groups),
        "probes": {name: rows_of(batches[name]) * events for name in work.probes},
        "texts": {name: order.card.probes[name] for name in work.probes},
        "later": work.earlier is not None,
        "settings": asdict(order.card)["identity"],
    }


def missing_work(card: RunCard, found: Iterable[StoredCell]) -> list[Work]:
    """What is still to be made so that every wanted component has its groups and all probes, in order."""
    have: dict[tuple, list[StoredCell]] = {}
    for cell in found:
        have.setdefault((cell.component, cell.groups), []).append(cell)
    return [
        work
        for name, part in card.wanted.items()
        for groups in blocks(int(part["groups"]), card.block)
        if (work := _lacking(card, name, groups, have.get((name, groups), []))) is not None
    ]


def _lacking(card: RunCard, name: str, groups: tuple, cells: list[StoredCell]) -> Work | None:
    first = next((cell for cell in cells if not cell.later), None)
    seen = {probe for cell in cells for probe in cell.probes} if first else set()
    probes = [probe for probe in card.probes if probe not in seen]
    if not probes:
        return None
    ordered = ("base", *[probe for probe in probes if probe != "base"])
    return Work(name, groups, ordered, first.folder if first else None)


def blocks(groups: int, block: int) -> list[tuple[int, ...]]:
    """Groups 0 to ``groups - 1`` in aligned blocks; the last one is filled up."""
    return [tuple(range(start, start + block)) for start in range(0, groups, block)]
