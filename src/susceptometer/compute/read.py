"""The door: read a subject's components into a folder; go on after any interruption; add to it later."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from susceptometer.compute.cells import Order, missing_work
from susceptometer.compute.finish import finished, priced
from susceptometer.compute.forecast import Forecast
from susceptometer.compute.identity import component_hash, tensors_hash
from susceptometer.compute.joined import read_probe, write_probes
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.selection import (
    Selection,
    chosen_components,
    chosen_probes,
    stored_component,
)
from susceptometer.compute.store import (
    RunCard,
    has_run,
    merged,
    new_card,
    open_run,
    require_same,
    require_same_parts,
    write_run,
)
from susceptometer.posterior.component import Component
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.reading import Reading
from susceptometer.sampling.recipe import Recipe
from susceptometer.types import Batch

LARGEST_BLOCK = 8
"""Groups that run side by side in one cell, at most."""


def read(
    subject: Subject,
    components: Selection,
    *,
    recipe: Recipe,
    seed: int,
    into: str | Path,
    options: ReadOptions | None = None,
) -> Reading:
    """Sample the local posterior of every component and store moments of all token losses in a folder.

    What is already there is not repeated: the same call after an interruption goes on where it stopped and gives
    the same numbers as an uninterrupted run. Another model, text, recipe or seed is refused in the same folder.

    Args:
        subject: What is read.
        components: A `ComponentSet` or other mapping, or names, short names and globs.
        recipe: How chains run; ``groups`` is filled up to whole blocks.
        seed: Names all random streams.
        into: The run folder.
        options: See `ReadOptions`.

    Returns:
        The reading; components load from disk when asked for.

    Raises:
        RunError: The folder holds another run, the disk is full, or a budget is too small.
        ComponentError: A component is unknown or empty.
        DataError: A probe is unknown.
    """
    path, options = Path(into), options or ReadOptions()
    parts = chosen_components(subject, components, full=options.full)
    probes = chosen_probes(subject, options.probes)
    block = options.block or block_size(recipe.schedule.groups)
    asked = new_card(subject, recipe, seed=seed, block=block, keep=options.keep)
    asked = replace(asked, provenance={**asked.provenance, "command": options.command})
    asked = wanting(asked, parts, recipe.schedule.groups, probes)
    subject = subject.with_data(subject.data, probes)
    return finished(path, _begun(path, asked, subject), subject, parts, options=options)


def cost(
    subject: Subject, components: Selection, *, recipe: Recipe, seed: int, options: ReadOptions | None = None
) -> Forecast:
    """What `read` into a new folder would cost, from a probe of a few seconds; nothing is stored."""
    options = options or ReadOptions()
    parts = chosen_components(subject, components, full=options.full)
    probes = chosen_probes(subject, options.probes)
    block = options.block or block_size(recipe.schedule.groups)
    card = new_card(subject, recipe, seed=seed, block=block, keep=options.keep)
    card = wanting(card, parts, recipe.schedule.groups, probes)
    order = Order(Path(), card, subject.with_data(subject.data, probes), parts)
    expected = priced(order, missing_work(card, []))[0]
    return replace(expected, bytes=expected.bytes + _table_bytes(card, order.subject))


def extend(
    path: str | Path,
    subject: Subject,
    *,
    groups: int | None = None,
    components: Selection | None = None,
    probes: Mapping[str, Batch] | None = None,
    options: ReadOptions | None = None,
) -> Reading:
    """Add groups, components or probes (new text) to a run without repeating a cell; equal to one long run.

    New probes are evaluated at stored weights where the run kept them; otherwise the chains run again from their
    seed and are checked against the stored loss traces.

    Args:
        path: The run folder.
        subject: The subject that was read.
        groups: Groups that ``components`` (or else all) shall have; never fewer than now.
        components: Components to add or to give more groups.
        probes: New named probes ``[rows, ...]``.
        options: Only engine, progress, announce and goal are used; the rest is the run's own.

    Raises:
        RunError: There is no run, the subject is not the one that was read, or a replay does not repeat it.
    """
    path, options = Path(path), options or ReadOptions()
    card = open_run(path)
    named = chosen_components(subject, components, full=options.full) if components is not None else {}
    old = {name: stored_component(subject, name) for name in card.wanted if name not in named}
    stored = {name: read_probe(path, card, name) for name in card.probes}
    texts: dict[str, Batch] = {**stored, **(probes or {})}
    subject = replace(subject, probes=texts)
    fresh = new_card(subject, card.own_recipe, seed=card.seed, block=card.block, keep=card.own_keep)
    wider = named or old if groups is not None else named
    asked = wanting(fresh, wider, groups or card.own_recipe.schedule.groups, texts)
    return finished(path, _begun(path, asked, subject), subject, {**old, **named}, options=options)


def _table_bytes(card: RunCard, subject: Subject) -> int:
    """Bytes of what a run folder holds beside its cells: its card, the probes' tables and the token strings."""
    with tempfile.TemporaryDirectory() as folder:
        write_probes(Path(folder), card, subject)
        write_run(Path(folder), card)
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def block_size(groups: int) -> int:
    """Groups per cell: the largest divisor up to `LARGEST_BLOCK`; 4 where only 1 divides a larger number."""
    best = max(size for size in range(1, LARGEST_BLOCK + 1) if groups % size == 0)
    return best if best > 1 or groups <= LARGEST_BLOCK else 4


def wanting(card: RunCard, parts: Mapping[str, Component], groups: int, probes: Mapping[str, Batch]) -> RunCard:
    """The card with components and probes added."""
    whole = -(-groups // card.block) * card.block
    wanted = {
        name: {"hash": component_hash(part), "weights": len(part), "groups": whole} for name, part in parts.items()
    }
    return replace(card, wanted=wanted, probes={n: tensors_hash(b) for n, b in probes.items()})


def _begun(path: Path, asked: RunCard, subject: Subject) -> RunCard:
    """The stored card with what is asked added, written back."""
    card = asked
    if has_run(path):
        stored = open_run(path)
        asked = _on_blocks(asked, stored.block)
        require_same(path, stored, asked)
        require_same_parts(path, stored, asked)
        card = merged(stored, asked)
    path.mkdir(parents=True, exist_ok=True)
    write_probes(path, card, subject)
    write_run(path, card)
    return card


def _on_blocks(asked: RunCard, block: int) -> RunCard:
    """The same wishes in blocks of a stored run."""
    filled = {name: {**part, "groups": -(-int(part["groups"]) // block) * block} for name, part in asked.wanted.items()}
    return replace(asked, block=block, wanted=filled)
