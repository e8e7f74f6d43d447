"""The components of a model as an ordered mapping: look up, match, complement, tabulate."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from susceptometer.errors import ComponentError
from susceptometer.posterior.component import (
    Component,
    component_from_masks,
    mask_piece,
    whole_piece,
)
from susceptometer.posterior.component_range import ComponentRange
from susceptometer.posterior.selector import (
    alternatives,
    canonical,
    glob_expression,
    is_glob,
    short_names,
)

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every parameter of the model, by name."""


class UnknownComponent(ComponentError, KeyError):
    """No component has this name; the message lists near matches."""

    __str__ = Exception.__str__


class ComponentRow(NamedTuple):
    """A line of `ComponentSet.table`: ``weights`` counts, ``share`` is the part of all weights."""

    name: str
    aliases: tuple[str, ...]
    weights: int
    share: float
    params: tuple[str, ...]


class ComponentSet(Mapping[str, Component]):
    """An ordered mapping from canonical names to components; aliases and short names work as keys.

    Args:
        members: The components, in the order of tables and plots.
        shapes: Shape of every parameter of the model (also those no component touches).
        ranges: Numbered parts built only when asked for, such as neurons.

    Raises:
        ComponentError: Two members share a name or an alias.
    """

    def __init__(self, members: Iterable[Component], shapes: Shapes, ranges: Iterable[ComponentRange] = ()) -> None:
        self._members: dict[str, Component] = {}
        self._aliases: dict[str, str] = {}
        for member in members:
            self._add(member)
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.ranges = {part.stem: part for part in ranges}

    def _add(self, member: Component) -> None:
        full = replace(member, aliases=tuple(dict.fromkeys((*member.aliases, *short_names(member.name)))))
        for name in (full.name, *full.aliases):
            if name in self._members or name in self._aliases:
                raise ComponentError(
                    "two components have the same name",
                    where=full.name,
                    value=name,
                    why="a name must mean one set of weights",
                    do="rename one of them",
                )
        self._members[full.name] = full
        self._aliases.update(dict.fromkeys(full.aliases, full.name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._lookup(name) is not None

    def __getitem__(self, name: str) -> Component:
        found = self._lookup(name)
        if found is None:
            raise self._unknown(name)
        return found

    def __repr__(self) -> str:
        shown = ", ".join(list(self)[:4]) + (", ..." if len(self) > 4 else "")
        return f"ComponentSet({len(self)} components: {shown})"

    @property
    def weights(self) -> int:
        """Number of weights of the whole model."""
        return sum(prod(shape) for shape in self.shapes.values())

    def match(self, pattern: str | Mapping[str, Tensor]) -> "ComponentSet":
        """The components that ``pattern`` means, in the order of its alternatives, without repeats.

        Args:
            pattern: Names, short names (``0:3``, ``L0H3``, ``0:q``, ``0:mlp:n0-31``) or globs,
                joined by ``|`` (``*`` stays within a dotted field, ``**`` crosses fields);
                ``re:EXPR`` over component names or, where none matches, over parameter names
                (then one component); ``param:EXPR`` over parameter names only; or boolean masks
                ``{param: [*shape]}``.

        Raises:
            ComponentError: Nothing matches (near matches are listed), a mask selects nothing or
                has a wrong shape, or a number is out of range.
        """
        if not isinstance(pattern, str):
            return ComponentSet([self._masked(pattern)], self.shapes)
        found: dict[str, Component] = {}
        for part in alternatives(pattern):
            matched = {member.name: member for member in self._matches(part)}
            if not matched:
                raise self._unknown(part)
            found.update(matched)
        return ComponentSet(found.values(), self.shapes, self.ranges.values())

    def complement(self, component: Component) -> Component:
        """Every weight of the model outside ``component``, named ``~name``.

        Raises:
            ComponentError: ``component`` is already everything.
        """
        everything = Component("all", tuple(whole_piece(n, s) for n, s in self.shapes.items()))
        return replace(everything - component, name=f"~{component.name}")

    def union(self, name: str) -> Component:
        """All members as one component called ``name``; weights in several members count once."""
        masks = {key: count > 0 for key, count in self._counts().items()}
        return component_from_masks(name, masks)

    def uncovered(self) -> dict[str, int]:
        """Number of weights of each parameter that no member holds; zeros are left out."""
        counts = self._counts()
        missing = {
            name: int((counts[name] == 0).sum()) if name in counts else prod(shape)
            for name, shape in self.shapes.items()
        }
        return {name: number for name, number in missing.items() if number}

    def disjoint(self) -> bool:
        """Whether no weight is held by two members."""
        return all(int(count.max()) <= 1 for count in self._counts().values())

    def table(self) -> list[ComponentRow]:
        """One row per member: name, aliases, weights, share of all weights, parameters touched."""
        total = self.weights
        return [ComponentRow(m.name, m.aliases, len(m), len(m) / total, m.params) for m in self._members.values()]

    def _lookup(self, name: str) -> Component | None:
        full = name if name in self._members else self._aliases.get(name, canonical(name))
        if full in self._members or full in self._aliases:
            return self._members[self._aliases.get(full, full)]
        stem, _, numbers = full.rpartition(".")
        if stem in self.ranges and re.fullmatch(r"\d+(-\d+)?", numbers):
            return next(self.ranges[stem].members(numbers))
        return None

    def _matches(self, part: str) -> list[Component]:
        if part.startswith("param:"):
            return self._by_params(part)
        if part.startswith("re:"):
            shape = _expression(part)
            named = [m for m in self._members.values() if shape.fullmatch(m.name)]
            return named or self._by_params(part)
        if not is_glob(part):
            found = self._lookup(part)
            return [] if found is None else [found]
        return self._globbed(part)

    def _globbed(self, part: str) -> list[Component]:
        shape = glob_expression(part)
        named = [m for m in self._members.values() if any(map(shape.fullmatch, (m.name, *m.aliases)))]
        stem, _, numbers = part.rpartition(".")
        stems = glob_expression(stem)
        ranges = [r for r in self.ranges.values() if stems.fullmatch(r.stem)] if "**" not in part else []
        return named + [member for found in ranges for member in found.members(numbers)]

    def _by_params(self, part: str) -> list[Component]:
        shape = _expression(part)
        names = [name for name in self.shapes if shape.search(name)]
        pieces = tuple(whole_piece(name, self.shapes[name]) for name in names)
        return [Component(part, pieces)] if pieces else []

    def _masked(self, masks: Mapping[str, Tensor]) -> Component:
        for name, mask in masks.items():
            self._check_mask(name, mask)
        pieces = tuple(mask_piece(name, mask) for name, mask in masks.items())
        return Component("mask", tuple(piece for piece in pieces if len(piece)))

    def _check_mask(self, name: str, mask: Tensor) -> None:
        if name not in self.shapes:
            near = get_close_matches(name, self.shapes, 3, 0.4)
            raise UnknownComponent(
                "no parameter has this name",
                where="mask",
                value=name,
                do=f"near matches: {', '.join(near)}" if near else "",
            )
        if mask.dtype != torch.bool or tuple(mask.shape) != self.shapes[name]:
            raise ComponentError(
                "a mask does not fit its parameter",
                where=name,
                value=f"{mask.dtype} {tuple(mask.shape)}",
                why="a mask marks every weight yes or no",
                do=f"pass a boolean tensor of shape {self.shapes[name]}",
            )

    def _counts(self) -> dict[str, Tensor]:
        counts: dict[str, Tensor] = {}
        for piece in (piece for member in self._members.values() for piece in member.pieces):
            if piece.param not in counts:
                counts[piece.param] = torch.zeros(piece.shape, dtype=torch.int16)
            if piece.entries is None:
                counts[piece.param][piece.box] += 1
            else:
                counts[piece.param].view(-1)[piece.entries] += 1
        return counts

    def _unknown(self, name: str) -> UnknownComponent:
        known = [*self._members, *self._aliases, *self.ranges]
        near = get_close_matches(name, known, 5, 0.5) or get_close_matches(canonical(name), known, 5, 0.4)
        hint = f"near matches: {', '.join(near)}" if near else f"known: {', '.join(list(self)[:8])}, ..."
        star = "; `*` stays within one dotted field, `**` crosses fields" if "*" in name else ""
        return UnknownComponent(
            "no component has this name",
            where="components",
            value=name,
            why="a selection of nothing cannot be sampled",
            do=hint + star,
        )


def _expression(part: str) -> re.Pattern[str]:
    text = part.split(":", 1)[1]
    try:
        return re.compile(text)
    except re.error as error:
        raise ComponentError(
            "a regular expression cannot be read",
            where="components",
            value=text,
            why=str(error),
            do="quote special characters with a backslash",
        ) from None
