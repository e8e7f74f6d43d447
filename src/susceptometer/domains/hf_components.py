"""Components of any Hugging Face causal language model, found by measuring its layers.

Names are TransformerLens-like: ``embed``, ``pos_embed``, ``blocks.0``, ``blocks.0.attn``, ``.attn.head.3``,
``.attn.kv.1``, ``.attn.q`` (k, v, o), ``blocks.0.mlp``, ``.mlp.neuron.17``, ``blocks.0.ln1``, ``ln_final``,
``unembed``, ``all``; the module's own path is an alias where the component is one module.

What belongs to a head (after reading the published code of the field): its rows of q, the rows of the key and value
head it reads, their biases, and its columns of o. The output bias and every norm, q and k norms
included, belong to no head. With grouped queries the heads of one group share their key and value rows;
then heads overlap there, and ``.attn.kv.g`` names those rows alone. Neuron i owns row i of the incoming
matrices (gate and up) with bias, and column i of the outgoing one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from transformers.pytorch_utils import Conv1D

from susceptometer.domains.hf_anatomy import Attention, LayerAnatomy, Mlp, Rows, layer_anatomy
from susceptometer.domains.hf_walk import layer_paths, linear_modules, record
from susceptometer.errors import ComponentError
from susceptometer.posterior.component import Component, Piece, whole_piece
from susceptometer.posterior.component_range import ComponentRange
from susceptometer.posterior.component_set import ComponentSet


@dataclass(frozen=True)
class ParameterNames:
    """Names of a model's parameters as ``named_parameters`` gives them; a tied one has one name.

    Args:
        model: The model.
    """

    model: nn.Module

    def __post_init__(self) -> None:
        names = {id(value): name for name, value in self.model.named_parameters()}
        object.__setattr__(self, "_names", names)

    def of(self, module: nn.Module, kind: str) -> str | None:
        """Name of ``module.weight`` or ``module.bias``; None where it has none."""
        value = getattr(module, kind, None)
        return None if value is None else self._names[id(value)]

    def below(self, module: nn.Module) -> list[str]:
        """Names of every parameter at or below ``module``."""
        return [self._names[id(value)] for value in module.parameters()]


def hf_components(model: nn.Module) -> ComponentSet:
    """All components of a causal language model, tables and plots in this order.

    Args:
        model: In evaluation mode, eager attention, float32 (``hf.skeleton`` makes such a copy for free).

    Raises:
        ComponentError: The model has no embedding (then it is no language model).

    Notes:
        Cost: one forward pass of three tokens and some gradients of attention per *kind* of layer.
    """
    names = ParameterNames(model)
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    everything = Component("all", tuple(whole_piece(n, s) for n, s in shapes.items()))
    members, ranges = [everything], []
    layers = layer_paths(model)
    outer = _outer(model, names, shapes, layers)
    inner = _Blocks(model, names, shapes, layers)
    members += outer[0] + list(inner.members()) + outer[1]
    ranges = list(inner.ranges())
    return ComponentSet(members, shapes, ranges)


def _outer(
    model: nn.Module, names: ParameterNames, shapes: dict, layers: list[str]
) -> tuple[list[Component], list[Component]]:
    """Components before and after the layers: embeddings, final norm, unembedding, anything else."""
    embed, unembed = model.get_input_embeddings(), model.get_output_embeddings()
    if embed is None:
        raise ComponentError(
            "the model has no token embedding",
            where=type(model).__name__,
            why="it is not a language model",
            do="pass a causal language model",
        )
    first = _embedding(model, names, shapes)
    last = [] if unembed is None or unembed.weight is embed.weight else [_whole("unembed", unembed, names, shapes)]
    stem = layers[0].rsplit(".", 1)[0] if layers else "-"
    for path, module in model.named_modules():
        if module in (embed, unembed) or path.startswith(f"{stem}."):
            continue
        if next(module.parameters(recurse=False), None) is not None:
            (first if isinstance(module, nn.Embedding) else last).insert(
                len(first) if isinstance(module, nn.Embedding) else 0,
                _whole(_outer_name(path, module), module, names, shapes, path),
            )
    return first, last


def _embedding(model: nn.Module, names: ParameterNames, shapes: dict) -> list[Component]:
    embed, unembed = model.get_input_embeddings(), model.get_output_embeddings()
    if unembed is None or unembed.weight is not embed.weight:
        return [_whole("embed", embed, names, shapes)]
    tied = _whole("embed_unembed", embed, names, shapes)
    extra = names.of(unembed, "bias")
    pieces = (*tied.pieces, *([whole_piece(extra, shapes[extra])] if extra else []))
    return [Component(tied.name, pieces, ("embed", "unembed"))]


def _outer_name(path: str, module: nn.Module) -> str:
    if isinstance(module, nn.Embedding):
        return "pos_embed"
    if not hasattr(module, "weight") or module.weight.ndim != 1:
        return path
    return "ln_embed" if "embed" in path else "ln_final"


def _whole(name: str, module: nn.Module, names: ParameterNames, shapes: dict, *aliases: str) -> Component:
    pieces = tuple(whole_piece(key, shapes[key]) for key in names.below(module))
    return Component(name, pieces, aliases)


class _Blocks:
    """Components inside the decoder layers; layers built alike are measured once."""

    def __init__(self, model: nn.Module, names: ParameterNames, shapes: dict, layers: list[str]) -> None:
        self.model, self.names, self.shapes, self.layers = model, names, shapes, layers
        self.anatomies = self._measure()

    def members(self) -> Iterator[Component]:
        for number, path in enumerate(self.layers):
            yield _whole(f"blocks.{number}", self._module(path), self.names, self.shapes, path)
            yield from self._attention(number, path)
            yield from self._mlp(number, path)
            for name, module in self.anatomies[path].norms.items():
                full = f"{path}.{module}"
                stem = f"blocks.{number}.{name}"
                yield _whole(stem, self._module(full), self.names, self.shapes, full)

    def ranges(self) -> Iterator[ComponentRange]:
        for number, path in enumerate(self.layers):
            mlp = self.anatomies[path].mlp
            if mlp is not None and mlp.lanes:
                pieces = tuple(self._neuron_pieces(path, mlp))
                yield ComponentRange(f"blocks.{number}.mlp.neuron", mlp.neurons, pieces)

    def _measure(self) -> dict[str, LayerAnatomy]:
        known: dict[tuple, LayerAnatomy] = {}
        out = {}
        for path in self.layers:
            layer = self._module(path)
            kind = (type(layer), *((n, tuple(p.shape)) for n, p in layer.named_parameters()))
            if kind not in known:
                size = self.model.get_input_embeddings().weight.shape[0]
                known[kind] = layer_anatomy(record(self.model, path, size))
            out[path] = known[kind]
        return out

    def _module(self, path: str) -> nn.Module:
        return self.model.get_submodule(path)

    def _attention(self, number: int, path: str) -> Iterator[Component]:
        attention = self.anatomies[path].attention
        if attention is None:
            return
        stem = f"blocks.{number}.attn"
        modules = [*attention.sources, attention.output]
        modules += [m for n, m in self.anatomies[path].norms.items() if n.startswith("attn.")]
        yield self._union(stem, path, modules)
        for letter in "qkv":
            rows = _merged([part for head in attention.heads for part in getattr(head, letter)])
            yield Component(f"{stem}.{letter}", self._rows(path, rows))
        yield self._union(f"{stem}.o", path, [attention.output])
        for number_, head in enumerate(attention.heads):
            rows = _merged([*head.q, *head.k, *head.v])
            pieces = self._rows(path, rows) + self._columns(path, attention.output, head.columns)
            yield Component(f"{stem}.head.{number_}", pieces)
        yield from self._groups(stem, path, attention)

    def _groups(self, stem: str, path: str, attention: Attention) -> Iterator[Component]:
        for number, (k, v) in enumerate(attention.groups):
            yield Component(f"{stem}.kv.{number}", self._rows(path, _merged([*k, *v])))

    def _mlp(self, number: int, path: str) -> Iterator[Component]:
        mlp = self.anatomies[path].mlp
        if mlp is not None:
            inside = [m for n, m in self.anatomies[path].norms.items() if n.startswith("mlp.")]
            yield self._union(f"blocks.{number}.mlp", path, [*mlp.sources, mlp.output, *inside])
            return
        if self.anatomies[path].attention is None:
            for name, module in linear_modules(self._module(path)).items():
                yield _whole(f"blocks.{number}.{name}", module, self.names, self.shapes)
        elif rest := self._rest(path):
            pieces = tuple(whole_piece(key, self.shapes[key]) for key in rest)
            yield Component(f"blocks.{number}.mlp", pieces)

    def _rest(self, path: str) -> list[str]:
        """Parameters that are neither attention nor norm: experts and their router."""
        anatomy = self.anatomies[path]
        known = [*anatomy.attention.sources, anatomy.attention.output, *anatomy.norms.values()]
        held = {k for name in known for k in self.names.below(self._module(f"{path}.{name}"))}
        return [key for key in self.names.below(self._module(path)) if key not in held]

    def _union(self, name: str, path: str, modules: list[str]) -> Component:
        keys = dict.fromkeys(key for module in modules for key in self.names.below(self._module(f"{path}.{module}")))
        return Component(name, tuple(whole_piece(key, self.shapes[key]) for key in keys))

    def _rows(self, path: str, rows: list[Rows]) -> tuple[Piece, ...]:
        pieces = []
        for part in rows:
            module = self._module(f"{path}.{part.module}")
            for start, stop in _runs(part.index):
                pieces.append(self._slab(module, "weight", _row_axis(module), (start, stop)))
                if module.bias is not None:
                    pieces.append(self._slab(module, "bias", 0, (start, stop)))
        return tuple(pieces)

    def _columns(self, path: str, name: str, index: tuple[int, ...]) -> tuple[Piece, ...]:
        module = self._module(f"{path}.{name}")
        axis = 1 - _row_axis(module)
        return tuple(self._slab(module, "weight", axis, run) for run in _runs(index))

    def _neuron_pieces(self, path: str, mlp: Mlp) -> Iterator[tuple[Piece, int]]:
        for name, start in mlp.lanes:
            module, run = self._module(f"{path}.{name}"), (start, start + mlp.neurons)
            yield self._slab(module, "weight", _row_axis(module), run), _row_axis(module)
            if module.bias is not None:
                yield self._slab(module, "bias", 0, run), 0
        module = self._module(f"{path}.{mlp.output}")
        axis = 1 - _row_axis(module)
        yield self._slab(module, "weight", axis, (0, mlp.neurons)), axis

    def _slab(self, module: nn.Module, kind: str, axis: int, run: tuple[int, int]) -> Piece:
        name = self.names.of(module, kind)
        box = [slice(0, size) for size in self.shapes[name]]
        box[axis] = slice(*run)
        return Piece(name, self.shapes[name], tuple(box))


def _row_axis(module: nn.Module) -> int:
    """Axis of the output features in ``module.weight``: GPT-2's ``Conv1D`` stores the transpose."""
    return 1 if isinstance(module, Conv1D) else 0


def _merged(rows: list[Rows]) -> list[Rows]:
    """One sorted entry per module."""
    index: dict[str, set[int]] = {}
    for part in rows:
        index.setdefault(part.module, set()).update(part.index)
    return [Rows(module, tuple(sorted(chosen))) for module, chosen in index.items()]


def _runs(index: tuple[int, ...]) -> list[tuple[int, int]]:
    """Maximal runs of consecutive numbers as ``(start, stop)``."""
    breaks = [i for i in range(1, len(index)) if index[i] != index[i - 1] + 1]
    starts, stops = [0, *breaks], [*breaks, len(index)]
    return [(index[a], index[b - 1] + 1) for a, b in zip(starts, stops, strict=True)]
