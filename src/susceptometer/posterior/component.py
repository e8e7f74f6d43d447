"""Components: named sets of weights, as values with set algebra, and their flat coordinates."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from susceptometer.errors import ComponentError
from susceptometer.types import Params


@dataclass(frozen=True)
class Piece:
    """A block of one parameter: ``params[name][box]``, or flat ``entries`` where no box fits.

    Args:
        param: Name of the parameter.
        shape: Shape of the whole parameter.
        box: One slice per axis (explicit start and stop, step 1); used when ``entries`` is None.
        entries: Sorted flat positions ``[n]`` (int64) in the row-major parameter.
    """

    param: str
    shape: tuple[int, ...]
    box: tuple[slice, ...] = ()
    entries: Tensor | None = None

    @property
    def block_shape(self) -> tuple[int, ...]:
        """Shape of the selected block: the box's shape, or ``(n,)`` for loose entries."""
        if self.entries is not None:
            return (self.entries.numel(),)
        return tuple(part.stop - part.start for part in self.box)

    @property
    def whole(self) -> bool:
        """Whether the block is the whole parameter."""
        return self.entries is None and self.block_shape == tuple(self.shape)

    def __len__(self) -> int:
        return prod(self.block_shape)

    def take(self, value: Tensor) -> Tensor:
        """The selected weights of ``value`` (``[*shape]``), flat ``[len(piece)]``."""
        if self.entries is not None:
            return value.reshape(-1)[self.entries.to(value.device)]
        return value[self.box].reshape(-1)

    def flat_entries(self) -> Tensor:
        """Row-major positions ``[len(piece)]`` of the selected weights, int64."""
        if self.entries is not None:
            return self.entries
        index = torch.arange(prod(self.shape)).reshape(self.shape)
        return index[self.box].reshape(-1)


def whole_piece(param: str, shape: tuple[int, ...]) -> Piece:
    """The piece that selects every weight of ``param``."""
    return Piece(param, tuple(shape), tuple(slice(0, size) for size in shape))


def mask_piece(param: str, mask: Tensor) -> Piece:
    """The piece that selects ``mask`` (bool ``[*shape]``), as a box where the mask is one."""
    shape = tuple(mask.shape)
    entries = mask.reshape(-1).nonzero().reshape(-1)
    if entries.numel() == 0:
        return Piece(param, shape, entries=entries)
    spots = mask.nonzero()
    low, high = spots.min(0).values.tolist(), (spots.max(0).values + 1).tolist()
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    candidate = Piece(param, shape, box)
    return candidate if len(candidate) == entries.numel() else Piece(param, shape, entries=entries)


@dataclass(frozen=True)
class Component:
    """A named set of weights C of a model; everything else stays at w*.

    The weights of a component have flat coordinates ``[len(component)]``: its pieces in order, each
    row-major. Combine with ``|``, ``&``, ``-``.

    Args:
        name: Canonical name, e.g. ``blocks.0.attn.head.3``.
        pieces: Disjoint blocks of parameters; empty selections raise.
        aliases: Other accepted names.

    Raises:
        ComponentError: The selection is empty.
    """

    name: str
    pieces: tuple[Piece, ...]
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self) == 0:
            raise ComponentError(
                "a component selects no weights",
                where=self.name,
                value=self.pieces,
                why="a posterior over nothing has no learning coefficient",
                do="check the name against `susceptometer components MODEL`",
            )

    def __len__(self) -> int:
        return sum(len(piece) for piece in self.pieces)

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the parameters the component touches, in order, without repeats."""
        return tuple(dict.fromkeys(piece.param for piece in self.pieces))

    def gather(self, params: Params) -> Tensor:
        """The component's weights from ``params``: flat ``[d]``."""
        return torch.cat([piece.take(params[piece.param]) for piece in self.pieces])

    def split(self, flat: Tensor) -> list[Tensor]:
        """Blocks ``[..., *block_shape]`` of flat coordinates ``[..., d]``, one per piece."""
        parts = flat.split([len(piece) for piece in self.pieces], dim=-1)
        return [
            part.reshape(*flat.shape[:-1], *piece.block_shape) for part, piece in zip(parts, self.pieces, strict=True)
        ]

    def scatter(self, params: Params, flat: Tensor) -> Params:
        """``params`` with the component's weights replaced by ``flat`` ``[d]``; works under vmap."""
        out = dict(params)
        for piece, block in zip(self.pieces, self.split(flat), strict=True):
            value = out[piece.param]
            if piece.whole:
                out[piece.param] = block.to(value.dtype)
            else:
                entries = piece.flat_entries().to(value.device)
                spread = value.reshape(-1).index_copy(0, entries, block.reshape(-1).to(value.dtype))
                out[piece.param] = spread.reshape(value.shape)
        return out

    def masks(self) -> dict[str, Tensor]:
        """Boolean mask ``[*shape]`` of every parameter the component touches."""
        out: dict[str, Tensor] = {}
        for piece in self.pieces:
            mask = out.setdefault(piece.param, torch.zeros(prod(piece.shape), dtype=torch.bool))
            mask[piece.flat_entries()] = True
        shapes = {piece.param: piece.shape for piece in self.pieces}
        return {name: mask.reshape(shapes[name]) for name, mask in out.items()}

    def __or__(self, other: "Component") -> "Component":
        mine, theirs = self.masks(), other.masks()
        names = dict.fromkeys([*mine, *theirs])
        joint = {
            name: mine[name] | theirs[name]
            if name in mine and name in theirs
            else mine[name]
            if name in mine
            else theirs[name]
            for name in names
        }
        return component_from_masks(f"({self.name} | {other.name})", joint)

    def __and__(self, other: "Component") -> "Component":
        mine, theirs = self.masks(), other.masks()
        shared = {name: mine[name] & theirs[name] for name in mine if name in theirs}
        return component_from_masks(f"({self.name} & {other.name})", shared)

    def __sub__(self, other: "Component") -> "Component":
        mine, theirs = self.masks(), other.masks()
        rest = {name: mask & ~theirs[name] if name in theirs else mask for name, mask in mine.items()}
        return component_from_masks(f"({self.name} - {other.name})", rest)


def component_from_masks(name: str, masks: dict[str, Tensor]) -> Component:
    """A component from boolean masks ``{param: [*shape]}``.

    Raises:
        ComponentError: No entry of any mask is true.
    """
    pieces = (mask_piece(param, mask) for param, mask in masks.items() if mask is not None)
    return Component(name, tuple(piece for piece in pieces if len(piece)))


def whole_component(name: str, params: Params, only: tuple[str, ...] | None = None) -> Component:
    """Every weight of ``params`` (or of the parameters named in ``only``) as one component."""
    names = params if only is None else only
    return Component(name, tuple(whole_piece(key, tuple(params[key].shape)) for key in names))
