"""Heads, key-value groups, neurons and norms of a decoder layer, decoded from its measured wiring."""

from dataclasses import dataclass

import torch
from torch import Tensor

from susceptometer.domains.hf_walk import (
    POSITIONS,
    Wiring,
    depends,
    mixes_positions,
    sensitivity,
)


@dataclass(frozen=True)
class Rows:
    """Output rows of one linear module (path relative to the layer), sorted."""

    module: str
    index: tuple[int, ...]


@dataclass(frozen=True)
class Head:
    """One attention head: what it queries, looks up and reads, and its columns of the output module."""

    q: tuple[Rows, ...]
    k: tuple[Rows, ...]
    v: tuple[Rows, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Attention:
    """An attention circuit: source modules, output module and heads."""

    sources: tuple[str, ...]
    output: str
    heads: tuple[Head, ...]

    @property
    def groups(self) -> dict[tuple[tuple[Rows, ...], tuple[Rows, ...]], list[int]]:
        """Key-value groups: ``(k rows, v rows)`` -> numbers of the heads that read them."""
        out: dict[tuple[tuple[Rows, ...], tuple[Rows, ...]], list[int]] = {}
        for number, head in enumerate(self.heads):
            out.setdefault((head.k, head.v), []).append(number)
        return out


@dataclass(frozen=True)
class Mlp:
    """A position-wise circuit. ``lanes``: ``(module, first row)``: neuron i is row ``first + i``."""

    sources: tuple[str, ...]
    output: str
    lanes: tuple[tuple[str, int], ...]
    neurons: int


@dataclass(frozen=True)
class LayerAnatomy:
    """What a layer is made of; ``norms`` maps a name (``ln1``, ``attn.q_norm``) to a module path."""

    attention: Attention | None
    mlp: Mlp | None
    norms: dict[str, str]


def layer_anatomy(wiring: Wiring) -> LayerAnatomy:
    """Decode one layer. Circuits that do not fit the attention or MLP pattern are left out (None)."""
    circuits = _circuits(wiring)
    attention = mlp = None
    for output, sources in circuits.items():
        if mixes_positions(wiring, output, sources):
            heads = _heads(wiring, output, sources)
            attention = attention or (Attention(sources, output, heads) if heads else None)
        else:
            mlp = mlp or Mlp(sources, output, *_lanes(wiring, output, sources))
    return LayerAnatomy(attention, mlp, _norms(wiring, attention, mlp))


def _circuits(wiring: Wiring) -> dict[str, tuple[str, ...]]:
    """Writers (feed the residual stream, do not read it) and the modules that directly feed them."""
    names = list(wiring.writes)
    leaves = [wiring.writes[name] for name in names]
    reaches = dict(zip(names, depends(wiring.exit, leaves), strict=True))
    circuits = {}
    for name in names:
        reads_stream, *fed = depends(wiring.reads[name], [wiring.entry, *leaves])
        sources = tuple(other for other, hit in zip(names, fed, strict=True) if hit)
        if reaches[name] and not reads_stream and sources:
            circuits[name] = sources
    return circuits


def _heads(wiring: Wiring, output: str, sources: tuple[str, ...]) -> tuple[Head, ...]:
    """Columns moved by the same query rows form a head; its keys and values act from the past."""
    same, past = sensitivity(wiring, output, sources)
    queries = ~past.any(0)
    groups: dict[bytes, list[int]] = {}
    for column, moved in enumerate(same & queries):
        groups.setdefault(moved.numpy().tobytes(), []).append(column)
    heads = tuple(_head(wiring, sources, same & queries, past, torch.tensor(columns)) for columns in groups.values())
    # Without queries or values it is a convolution or a recurrence, not attention.
    return heads if all(head.q and head.v for head in heads) else ()


def _head(wiring: Wiring, sources: tuple[str, ...], queries: Tensor, past: Tensor, columns: Tensor) -> Head:
    reach = past[columns].sum(0)
    value = (reach == 1) if len(columns) > 1 else torch.zeros_like(reach, dtype=torch.bool)
    parts = (queries[columns[0]], (reach > 0) & ~value, value)
    q, k, v = (_rows(wiring, sources, part) for part in parts)
    return Head(q, k, v, tuple(columns.tolist()))


def _rows(wiring: Wiring, sources: tuple[str, ...], chosen: Tensor) -> tuple[Rows, ...]:
    sizes = [wiring.writes[name].shape[-1] for name in sources]
    parts = zip(sources, chosen.split(sizes), strict=True)
    return tuple(Rows(name, tuple(part.nonzero().reshape(-1).tolist())) for name, part in parts if part.any())


def _lanes(wiring: Wiring, output: str, sources: tuple[str, ...]) -> tuple[tuple[tuple[str, int], ...], int]:
    """Neuron rows by binary codes: log2(neurons) gradients tell which column every row moves."""
    neurons = wiring.reads[output].shape[-1]
    column = torch.arange(neurons)
    code = {name: torch.zeros(wiring.writes[name].shape[-1], dtype=torch.long) for name in sources}
    for bit in range(max(1, (neurons - 1).bit_length())):
        chosen = (column >> bit) & 1 == 1
        hit, miss = (_moving_rows(wiring, output, sources, part) for part in (chosen, ~chosen))
        if any(bool((hit[name] & miss[name]).any()) for name in sources):
            return (), neurons
        for name in sources:
            code[name] += hit[name].long() << bit
    lanes = tuple(
        (name, start)
        for name in sources
        for start in range(0, len(code[name]), neurons)
        if torch.equal(code[name][start : start + neurons], column)
    )
    whole = sum(len(rows) for rows in code.values()) == neurons * len(lanes)
    return (lanes if whole else ()), neurons


def _moving_rows(wiring: Wiring, output: str, sources: tuple[str, ...], columns: Tensor) -> dict[str, Tensor]:
    """Rows of each source that move any of ``columns`` at some position."""
    leaves = [wiring.writes[name] for name in sources]
    target = wiring.reads[output][:, columns.to(wiring.reads[output].device)].sum()
    grads = torch.autograd.grad(target, leaves, retain_graph=True)
    return {n: (g.reshape(POSITIONS, -1) != 0).any(0).cpu() for n, g in zip(sources, grads, strict=True)}


def _norms(wiring: Wiring, attention: Attention | None, mlp: Mlp | None) -> dict[str, str]:
    """Names of the other modules with weights by what they sit between."""
    named: dict[str, str] = {}
    for path, (before, after) in wiring.norms.items():
        name = _norm_name(wiring, attention, mlp, before, after) or path
        named[path if name in named else name] = path
    return named


def _norm_name(
    wiring: Wiring, attention: Attention | None, mlp: Mlp | None, before: Tensor, after: Tensor
) -> str | None:
    (from_stream,) = depends(before, [wiring.entry])
    for stem, circuit in (("ln1", attention), ("ln2", mlp)):
        if circuit is None:
            continue
        sources = [wiring.writes[name] for name in circuit.sources]
        inside = depends(before, sources)
        if any(inside) and not from_stream:
            return f"attn.{_qk(circuit, inside)}_norm" if circuit is attention else "mlp.norm"
        if depends(before, [wiring.writes[circuit.output]])[0] and not from_stream:
            return f"{stem}_post"
        feeds = [depends(wiring.reads[name], [after])[0] for name in circuit.sources]
        if any(feeds):
            return stem
    return None


def _qk(attention: Attention, inside: list[bool]) -> str:
    """Which of q and k the flagged sources hold (both or neither: ``qk``)."""
    flagged = {name for name, hit in zip(attention.sources, inside, strict=True) if hit}
    q = {rows.module for head in attention.heads for rows in head.q}
    k = {rows.module for head in attention.heads for rows in head.k}
    return "q" if flagged == q and q != k else "k" if flagged == k and q != k else "qk"
