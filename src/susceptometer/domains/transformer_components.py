"""Components of the project's own transformer, under the same names as those of Hugging Face models.

Weights: ``embed.W_E [V, d]``, ``pos_embed.W_pos [K, d]``, ``blocks.l.attn.W_Q`` (K, V) ``[heads, d, d_head]``,
``W_O [heads, d_head, d]``, optional biases ``b_Q`` (K, V) ``[heads, d_head]`` and ``b_O [d]``,
``blocks.l.mlp.W_in [d, d_mlp]``, ``b_in``, ``W_out``, ``b_out``, ``ln1.w``, ``ln1.b``, ``ln_final.w``,
``unembed.W_U [d, V]``.
A head owns its slices of W_Q, W_K, W_V, W_O and of b_Q, b_K, b_V; b_O and the norms belong to no head.
"""

import re
from collections.abc import Iterator, Mapping

from susceptometer.errors import ComponentError
from susceptometer.posterior.component import Component, Piece, whole_piece
from susceptometer.posterior.component_range import ComponentRange
from susceptometer.posterior.component_set import ComponentSet

Shapes = Mapping[str, tuple[int, ...]]


def transformer_components(shapes: Shapes) -> ComponentSet:
    """All components of a transformer from the shapes of its weights (``transformer.shapes(config)``).

    Order: ``all``, ``embed``, ``pos_embed``, the blocks with their parts, ``ln_final``, ``unembed``. A weight
    of an unknown name stays part of ``all`` and of its block.

    Args:
        shapes: Name -> shape of every weight, or the weights themselves.

    Raises:
        ComponentError: No weight has the name ``embed.W_E``.
    """
    shapes = {name: tuple(getattr(value, "shape", value)) for name, value in shapes.items()}
    if "embed.W_E" not in shapes:
        raise ComponentError(
            "the weights are not those of a transformer",
            where="transformer_components",
            value=sorted(shapes)[:4],
            why="there is no embed.W_E",
            do="use names as in domains/transformer.py",
        )
    layers = sorted({int(n.split(".")[1]) for n in shapes if n.startswith("blocks.")})
    members = [_under("all", "", shapes), _under("embed", "embed.", shapes)]
    members += [_under("pos_embed", "pos_embed.", shapes)] if "pos_embed.W_pos" in shapes else []
    for layer in layers:
        members += _block(layer, shapes)
    members += [
        _under(name, f"{name}.", shapes)
        for name in ("ln_final", "unembed")
        if any(key.startswith(f"{name}.") for key in shapes)
    ]
    ranges = [_neurons(f"blocks.{i}.mlp", shapes) for i in layers if f"blocks.{i}.mlp.W_in" in shapes]
    return ComponentSet(members, shapes, ranges)


def _under(name: str, prefix: str, shapes: Shapes) -> Component:
    """Every weight whose name starts with ``prefix``, as one component."""
    pieces = (whole_piece(key, shape) for key, shape in shapes.items() if key.startswith(prefix))
    return Component(name, tuple(pieces))


def _block(layer: int, shapes: Shapes) -> Iterator[Component]:
    stem = f"blocks.{layer}"
    yield _under(stem, f"{stem}.", shapes)
    for part in ("attn", "mlp", "ln1", "ln2"):
        if any(key.startswith(f"{stem}.{part}.") for key in shapes):
            yield _under(f"{stem}.{part}", f"{stem}.{part}.", shapes)
        if part == "attn":
            yield from _attention(f"{stem}.attn", shapes)


def _attention(stem: str, shapes: Shapes) -> Iterator[Component]:
    for letter in "QKVO":
        keys = [k for k in (f"{stem}.W_{letter}", f"{stem}.b_{letter}") if k in shapes]
        pieces = tuple(whole_piece(key, shapes[key]) for key in keys)
        yield Component(f"{stem}.{letter.lower()}", pieces)
    by_head = re.compile(re.escape(stem) + r"\.(W_[QKVO]|b_[QKV])")
    keys = [key for key in shapes if by_head.fullmatch(key)]
    for head in range(shapes[f"{stem}.W_Q"][0]):
        pieces = tuple(_slab(key, shapes[key], 0, (head, head + 1)) for key in keys)
        yield Component(f"{stem}.head.{head}", pieces)


def _neurons(stem: str, shapes: Shapes) -> ComponentRange:
    axes = {"W_in": 1, "b_in": 0, "W_out": 0}
    found = [(f"{stem}.{k}", axis) for k, axis in axes.items() if f"{stem}.{k}" in shapes]
    pieces = tuple((whole_piece(key, shapes[key]), axis) for key, axis in found)
    return ComponentRange(f"{stem}.neuron", shapes[f"{stem}.W_in"][1], pieces)


def _slab(name: str, shape: tuple[int, ...], axis: int, run: tuple[int, int]) -> Piece:
    box = [slice(0, size) for size in shape]
    box[axis] = slice(*run)
    return Piece(name, shape, tuple(box))
