"""Make what a run folder still lacks: damaged cells again, missing cells, then adaptive rounds."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from susceptometer.compute.cell_file import check_files, read_card
from susceptometer.compute.cells import Order, Work, missing_work
from susceptometer.compute.forecast import Forecast, forecast, unit_costs
from susceptometer.compute.joined import read_probe
from susceptometer.compute.opened import reading_at
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.pieces import UnitCost
from susceptometer.compute.progress import Meter, shown
from susceptometer.compute.schedule import block_seconds, errors, goal_text, next_groups
from susceptometer.compute.selection import stored_component
from susceptometer.compute.store import RunCard, stored_cells, tidy, write_run
from susceptometer.errors import RunError
from susceptometer.posterior.component import Component
from susceptometer.posterior.prefix import PrefixStore
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.reading import Reading


def finished(
    path: Path, card: RunCard, subject: Subject, parts: Mapping[str, Component], *, options: ReadOptions
) -> Reading:
    """Make everything that is missing, then the adaptive rounds."""
    begun = time.monotonic()
    tidy(path)
    stored = {name: read_probe(path, card, name) for name in card.probes if name not in subject.probes}
    whole = subject.with_data(subject.data, {**stored, **subject.probes})
    prefixes = PrefixStore(options.prefix_bytes, scratch=path)
    order = Order(path, card, whole, _complete(card, subject, parts), prefixes)
    _drop_damaged(order, options)
    costs = _round(order, options, None)
    if options.goal is not None:
        _rounds(order, options, costs, begun)
    return reading_at(path)


def _complete(card: RunCard, subject: Subject, parts: Mapping[str, Component]) -> dict[str, Component]:
    """All wanted components as objects, also those that an earlier call asked for."""
    return {name: parts.get(name) or stored_component(subject, name) for name in card.wanted}


def _drop_damaged(order: Order, options: ReadOptions) -> None:
    """Delete cells that are truncated or altered, so that they are sampled anew."""
    found, damaged = stored_cells(order.path, order.card)
    for cell in found:
        try:
            check_files(cell.folder, read_card(cell.folder))
        except RunError as error:
            damaged.append(error)
    for damage in damaged:
        rmtree(damage.where, ignore_errors=True)
    if damaged and options.announce:
        options.announce(f"{len(damaged)} damaged cells are sampled again: {damaged[0]}")


def _round(order: Order, options: ReadOptions, costs: dict[str, UnitCost] | None) -> dict[str, UnitCost]:
    """Make what is missing, with forecast and progress; return the costs used."""
    works = planned(order)
    if not works:
        return costs or {}
    budget = options.goal.budget if options.goal else None
    if costs is None and (options.announce or options.goal):
        _, costs = priced(order, works)
        expected = forecast(order, works, costs)
        if options.announce:
            options.announce(str(expected))
        _require_budget(order, expected, budget)
    weight = block_seconds(costs, order.card.own_recipe) if costs else {}
    with shown(options.progress) as tell:
        options.engine(order, works, Meter(works, weight, tell))
    return costs or {}


def _require_budget(order: Order, expected: Forecast, budget: float | None) -> None:
    if budget is not None and expected.seconds > budget:
        raise RunError(
            "the budget does not cover the first round",
            where=str(order.path),
            value=f"{expected.seconds:.0f} s expected, {budget:.0f} s given",
            why="no component would have an error to be improved",
            do="ask for fewer groups, draws or components, or give more time",
        )


def _rounds(order: Order, options: ReadOptions, costs: dict[str, UnitCost], begun: float) -> None:
    """Add groups where the error is largest until the goal is met or nothing more is affordable."""
    goal, card = options.goal, order.card
    assert goal is not None
    if set(costs) != set(card.wanted):
        costs = unit_costs(order, [Work(name, tuple(range(card.block)), ("base",)) for name in card.wanted])
    seconds = block_seconds(costs, card.own_recipe)
    while True:
        error = errors(reading_at(order.path), goal.of)
        left = float("inf") if goal.budget is None else goal.budget - (time.monotonic() - begun)
        now = {name: int(part["groups"]) for name, part in card.wanted.items() if name in error}
        then = next_groups(now, error, goal, seconds=seconds, left=left, block=card.block)
        if options.announce:
            options.announce(goal_text(goal, error))
        if then == now:
            return
        wanted = {name: {**part, "groups": then.get(name, part["groups"])} for name, part in card.wanted.items()}
        card = replace(card, wanted=wanted)
        write_run(order.path, card)
        order = replace(order, card=card)
        if options.announce:
            options.announce(str(forecast(order, planned(order), costs)))
        _round(order, options, costs)


def planned(order: Order) -> list[Work]:
    """What is still to be made for an order; damaged cells count as not made."""
    return missing_work(order.card, stored_cells(order.path, order.card)[0])


def priced(order: Order, works: Sequence[Work]) -> tuple[Forecast, dict[str, UnitCost]]:
    """Forecast of some works, from a probe of a few seconds."""
    costs = unit_costs(order, works)
    return forecast(order, works, costs), costs
