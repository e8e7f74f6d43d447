"""Numbered parts of a model, such as neurons, built only when asked for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from susceptometer.errors import ComponentError
from susceptometer.posterior.component import Component, Piece
from susceptometer.posterior.selector import glob_expression, short_names


@dataclass(frozen=True)
class ComponentRange:
    """Numbered parts made on demand, ``{stem}.7`` or ``{stem}.0-31`` (ends included), e.g. neurons.

    Args:
        stem: Name without the number, e.g. ``blocks.0.mlp.neuron``.
        size: How many numbered parts there are.
        pieces: ``(piece, axis)``: a box piece that holds part ``i`` at position ``i`` of ``axis``.
    """

    stem: str
    size: int
    pieces: tuple[tuple[Piece, int], ...]

    def member(self, first: int, last: int) -> Component:
        """Parts ``first`` to ``last`` (included) as one component.

        Raises:
            ComponentError: The numbers are not in ``0 <= first <= last < size``.
        """
        number = str(first) if first == last else f"{first}-{last}"
        if not 0 <= first <= last < self.size:
            raise ComponentError(
                "a number is out of range",
                where=f"{self.stem}.{number}",
                value=number,
                why=f"{self.stem} has parts 0 to {self.size - 1}",
                do="choose numbers in that range",
            )
        name = f"{self.stem}.{number}"
        pieces = tuple(_narrow(piece, axis, first, last + 1) for piece, axis in self.pieces)
        return Component(name, pieces, short_names(name))

    def members(self, numbers: str) -> Iterator[Component]:
        """What ``numbers`` means: ``17`` or ``0-31`` (one component), or a glob (one each)."""
        if found := re.fullmatch(r"(\d+)(?:-(\d+))?", numbers):
            yield self.member(int(found[1]), int(found[2] or found[1]))
            return
        shape = glob_expression(numbers)
        yield from (self.member(i, i) for i in range(self.size) if shape.fullmatch(str(i)))


def _narrow(piece: Piece, axis: int, start: int, stop: int) -> Piece:
    offset = piece.box[axis].start
    box = (*piece.box[:axis], slice(offset + start, offset + stop), *piece.box[axis + 1 :])
    return replace(piece, box=box)
