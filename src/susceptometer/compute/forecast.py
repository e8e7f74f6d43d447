"""What a reading will cost, from a probe of a few seconds: time, floating-point operations, bytes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from susceptometer.compute.cells import Order, Work
from susceptometer.compute.pieces import Cost, Trial, UnitCost
from susceptometer.posterior.stages import PlacedStages

PROBE_SECONDS = 5.0
"""Time given to the probe, all components together."""

PROBED = 8
"""Components tried at most."""


@dataclass(frozen=True)
class Forecast:
    """What is still to be done; prints as one line.

    Args:
        cells: Cells to make, of ``components`` components.
        components: Components concerned.
        seconds: Expected wall time of one worker like this machine.
        flop: Floating-point operations in matrix products and attention.
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


def unit_costs(order: Order, works: Sequence[Work]) -> dict[str, UnitCost]:
    """Cost per component, by trying some of them for `PROBE_SECONDS`; nothing is stored in the run folder.

    Of every kind (equal names but for numbers, equal size) the components of the first and of the last layer are tried,
    up to `PROBED`, the most frequent kinds first; costs in between follow by interpolation in the layer.
    """
    first = {work.component: work for work in reversed(works)}
    kinds: dict[str, list[str]] = {}
    for name in dict.fromkeys(work.component for work in works):
        kinds.setdefault(_kind(order, name), []).append(name)
    ends = {kind: (min(names, key=_layer), max(names, key=_layer)) for kind, names in kinds.items()}
    ranked = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    picked = list(dict.fromkeys(name for kind in ranked for name in ends[kind]))[:PROBED]
    tried = {name: Trial(order, first[name], PROBE_SECONDS / len(picked)).cost() for name in picked}
    return {name: _between(order, name, ends[_kind(order, name)], tried) for names in kinds.values() for name in names}


def _kind(order: Order, name: str) -> str:
    return f"{re.sub(r'[0-9]+', '#', name)} {len(order.components[name])}"


def _layer(name: str) -> int:
    found = re.search(r"[0-9]+", name)
    return int(found[0]) if found else 0


def _between(order: Order, name: str, ends: tuple[str, str], tried: Mapping[str, UnitCost]) -> UnitCost:
    """The tried cost, one between those of its kind, or that of the tried component nearest in size."""
    if name in tried:
        return tried[name]
    known = [end for end in ends if end in tried]
    if not known:
        size = len(order.components[name])
        return tried[min(tried, key=lambda other: abs(len(order.components[other]) - size))]
    one, two = tried[known[0]], tried[known[-1]]
    span = _layer(known[-1]) - _layer(known[0])
    share = (_layer(name) - _layer(known[0])) / span if span else 0.0
    mixed = {
        part.name: getattr(one, part.name) * (1 - share) + getattr(two, part.name) * share
        for part in fields(UnitCost)
        if isinstance(getattr(one, part.name), Cost)
    }
    return UnitCost(**mixed, files=one.files)


def forecast(order: Order, works: Sequence[Work], costs: Mapping[str, UnitCost]) -> Forecast:
    """Cost of making ``works``."""
    recipe, keep = order.card.own_recipe, order.card.own_keep
    names = dict.fromkeys(work.component for work in works)
    places: dict[object, str] = {}
    for name in names:
        places.setdefault(_place(order, name), name)
    total = sum((costs[name].component for name in names), Cost())
    total += sum((costs[name].place for name in places.values()), Cost())
    for work in works:
        total += costs[work.component].cell(recipe, later=work.earlier is not None, weights=keep.weights)
    weights = sum(_weight_bytes(order, work) for work in works if keep.weights and work.earlier is None)
    sizes = {work: cell_sizes(order, work) for work in works}
    return Forecast(
        cells=len(works),
        components=len(names),
        seconds=total.seconds,
        flop=total.flop,
        bytes=sum(costs[work.component].stored(sizes[work]) for work in works) + weights,
        weight_bytes=weights,
        memory=max((_moment_bytes(order, sizes[work]) for work in works), default=0),
    )


def _place(order: Order, name: str) -> object:
    """What components that share a prefix have in common."""
    stages, component = order.subject.stages, order.components[name]
    if stages is None or not stages.serves(component):
        return "all"
    return stages.place(component) if isinstance(stages, PlacedStages) else name


def cell_sizes(order: Order, work: Work) -> dict[str, int]:
    """Length of every dimension of a work's cell."""
    recipe = order.card.recipe_of(work.component)
    probes = [order.subject.probes[name] for name in work.probes]
    rows = sum(next(iter(batch.values())).shape[0] for batch in probes)
    coupling, schedule = recipe.coupling, recipe.schedule
    return {
        "group": len(work.groups),
        "member": coupling.members,
        "draw": schedule.draws,
        "step": schedule.steps,
        "sign": coupling.signs if coupling.responds else 0,
        "half": 2 if coupling.responds else 0,
        "token": rows * order.posterior(work).events,
        "weight": len(order.components[work.component]),
    }


def _moment_bytes(order: Order, sizes: Mapping[str, int]) -> int:
    """Bytes of sums over draws and of traces while a cell runs: float64, separations float32."""
    group, token = sizes["group"], sizes["token"]
    sums = 8 * token * (1 + group * (2 + sizes["half"]))
    traces = 16 * group * sizes["member"] * sizes["draw"] + 4 * group * sizes["sign"] * sizes["step"]
    tokens = 4 * group * sizes["member"] * sizes["draw"] * token if order.card.own_keep.tokens else 0
    return sums + traces + tokens


def _weight_bytes(order: Order, work: Work) -> int:
    sizes = cell_sizes(order, work)
    return 4 * sizes["group"] * sizes["member"] * sizes["draw"] * sizes["weight"]


def kept_bytes(order: Order, works: Sequence[Work]) -> int:
    """Bytes that kept weights would take, whether or not they are asked for."""
    return sum(_weight_bytes(order, work) for work in works if work.earlier is None)


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
