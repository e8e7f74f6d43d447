"""Components as sets: algebra, names, near matches, and selections that would be empty."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from susceptometer.errors import ComponentError
from susceptometer.posterior.component import (
    Component,
    Piece,
    component_from_masks,
    whole_component,
    whole_piece,
)
from susceptometer.posterior.component_range import ComponentRange
from susceptometer.posterior.component_set import ComponentSet, UnknownComponent

SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 2)}
PARAMS = {name: torch.arange(float(torch.Size(s).numel())).reshape(s) for name, s in SHAPES.items()}


def from_bits(name: str, bits: list[bool]) -> Component | None:
    sizes = [torch.Size(shape).numel() for shape in SHAPES.values()]
    parts = torch.tensor(bits).split(sizes)
    masks = {n: p.reshape(s) for p, (n, s) in zip(parts, SHAPES.items(), strict=True) if p.any()}
    return component_from_masks(name, masks) if masks else None


def bits_of(component: Component) -> torch.Tensor:
    masks = component.masks()
    empty = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in SHAPES.items()}
    return torch.cat([masks.get(name, empty[name]).reshape(-1) for name in SHAPES])


TOTAL = 21
BITS = st.lists(st.booleans(), min_size=TOTAL, max_size=TOTAL).filter(any)


def everything() -> ComponentSet:
    heads = [
        Component(
            f"blocks.{layer}.attn.head.{h}",
            (Piece("a", (3, 4), (slice(layer, layer + 1), slice(2 * h, 2 * h + 2))),),
        )
        for layer in range(2)
        for h in range(2)
    ]
    mlps = [
        Component(f"blocks.{layer}.mlp", (Piece("c", (2, 2), (slice(layer, layer + 1), slice(0, 2))),))
        for layer in range(2)
    ]
    members = [
        whole_component("all", PARAMS),
        Component("embed", (whole_piece("b", (5,)),)),
        *heads,
        *mlps,
    ]
    neurons = ComponentRange("blocks.0.mlp.neuron", 2, ((whole_piece("c", (2, 2)), 1),))
    return ComponentSet(members, SHAPES, [neurons])


@settings(max_examples=60, deadline=None)
@given(BITS, BITS)
def test_algebra_is_the_algebra_of_sets(first: list[bool], second: list[bool]) -> None:
    a, b = from_bits("a", first), from_bits("b", second)
    x, y = torch.tensor(first), torch.tensor(second)
    assert torch.equal(bits_of(a | b), x | y)
    for both, make in ((x & y, lambda: a & b), (x & ~y, lambda: a - b)):
        if both.any():
            assert torch.equal(bits_of(make()), both)
        else:
            with pytest.raises(ComponentError, match="selects no weights"):
                make()


@settings(max_examples=60, deadline=None)
@given(BITS, BITS)
def test_de_morgan(first: list[bool], second: list[bool]) -> None:
    parts = ComponentSet([], SHAPES)
    a, b = from_bits("a", first), from_bits("b", second)
    if bits_of(a | b).all() or bits_of(a).all() or bits_of(b).all():
        return
    left = parts.complement(a | b)
    assert torch.equal(bits_of(left), ~bits_of(a) & ~bits_of(b))
    assert torch.equal(bits_of(left), bits_of(parts.complement(a) & parts.complement(b)))


@settings(max_examples=60, deadline=None)
@given(BITS, st.lists(st.integers(0, 3), min_size=TOTAL, max_size=TOTAL))
def test_len_is_additive_and_a_partition_sums_to_all(bits: list[bool], labels: list[int]) -> None:
    cells = [from_bits(str(k), [label == k for label in labels]) for k in range(4)]
    cells = [cell for cell in cells if cell is not None]
    parts = ComponentSet(cells, SHAPES)
    assert sum(map(len, cells)) == parts.weights == TOTAL
    assert parts.disjoint() and not parts.uncovered()
    assert torch.equal(bits_of(parts.union("whole")), torch.ones(TOTAL, dtype=torch.bool))
    chosen = from_bits("chosen", bits)
    assert len(chosen) + TOTAL == len(chosen | cells[0]) + sum(bits_of(chosen) & bits_of(cells[0])) + TOTAL - len(
        cells[0]
    )


@settings(max_examples=40, deadline=None)
@given(BITS)
def test_flat_coordinates_round_trip(bits: list[bool]) -> None:
    component = from_bits("x", bits)
    flat = component.gather(PARAMS)
    assert flat.shape == (len(component),)
    moved = component.scatter(PARAMS, flat + 1)
    change = torch.cat([(moved[name] - PARAMS[name]).reshape(-1) for name in SHAPES])
    assert torch.equal(change != 0, torch.tensor(bits))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("blocks.0.attn.head.1", ["blocks.0.attn.head.1"]),
        ("0:1", ["blocks.0.attn.head.1"]),
        ("L0H1", ["blocks.0.attn.head.1"]),
        ("l0h1", ["blocks.0.attn.head.1"]),
        ("L*H1", ["blocks.0.attn.head.1", "blocks.1.attn.head.1"]),
        ("1:*", ["blocks.1.attn.head.0", "blocks.1.attn.head.1"]),
        ("blocks.*.attn.head.*", [f"blocks.{i}.attn.head.{j}" for i in (0, 1) for j in (0, 1)]),
        ("heads", [f"blocks.{i}.attn.head.{j}" for i in (0, 1) for j in (0, 1)]),
        ("embed | 1:mlp | embed", ["embed", "blocks.1.mlp"]),
        ("0:mlp:n1", ["blocks.0.mlp.neuron.1"]),
        ("0:mlp:n0-1", ["blocks.0.mlp.neuron.0-1"]),
        ("0:mlp:n*", ["blocks.0.mlp.neuron.0", "blocks.0.mlp.neuron.1"]),
        ("**.mlp", ["blocks.0.mlp", "blocks.1.mlp"]),
        ("re:blocks\\.\\d\\.mlp", ["blocks.0.mlp", "blocks.1.mlp"]),
        ("re:^[ab]$", ["re:^[ab]$"]),
        ("param:c|b", ["param:c|b"]),
        ("all", ["all"]),
    ],
)
def test_match(pattern: str, names: list[str]) -> None:
    assert list(everything().match(pattern)) == names


def test_lookup_takes_aliases_and_lazy_names() -> None:
    parts = everything()
    assert parts["l1h0"] is parts["blocks.1.attn.head.0"] and "1:0" in parts
    assert torch.equal(parts["0:mlp:n1"].gather(PARAMS), PARAMS["c"][:, 1])


@pytest.mark.parametrize("pattern", ["0:7", "blocks.0.attn.heads.1", "blocks.9.*", "re:nothing", "embedd", ""])
def test_unknown_names_raise_with_near_matches(pattern: str) -> None:
    with pytest.raises(ComponentError, match="no component has this name"):
        everything().match(pattern)


def test_near_matches_are_listed() -> None:
    with pytest.raises(UnknownComponent, match=r"near matches: .*embed"):
        everything()["embedd"]
    with pytest.raises(UnknownComponent, match=r"blocks\.0\.attn\.head\.1"):
        everything().match("blocks.0.attn.heads.1")
    assert everything().get("embedd") is None
    assert pickle.loads(pickle.dumps(everything()))["0:1"].name == "blocks.0.attn.head.1"


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"a": torch.zeros(3, 4, dtype=torch.bool)}, "selects no weights"),
        ({"a": torch.ones(4, 3, dtype=torch.bool)}, "does not fit"),
        ({"a": torch.ones(3, 4)}, "does not fit"),
        ({"aa": torch.ones(3, 4, dtype=torch.bool)}, "no parameter has this name"),
        ({}, "selects no weights"),
    ],
)
def test_bad_masks_raise(masks: dict, message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        everything().match(masks)


def test_masks_select() -> None:
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[1, 2] = mask[2, 0] = True
    (component,) = everything().match({"a": mask}).values()
    assert component.gather(PARAMS).tolist() == [6.0, 8.0]


def test_out_of_range_and_bad_regex_and_double_names() -> None:
    with pytest.raises(ComponentError, match="out of range"):
        everything().match("0:mlp:n1-2")
    with pytest.raises(ComponentError, match="cannot be read"):
        everything().match("re:(")
    with pytest.raises(ComponentError, match="same name"):
        ComponentSet([whole_component("x", PARAMS), whole_component("x", PARAMS)], SHAPES)
    with pytest.raises(ComponentError, match="selects no weights"):
        everything().complement(everything()["all"])


def test_table_and_cover() -> None:
    parts = everything()
    rows = {row.name: row for row in parts.table()}
    assert rows["embed"].weights == 5 and rows["all"].share == 1.0
    assert rows["blocks.0.attn.head.1"].aliases == ("0:1", "L0H1")
    assert parts.match("heads").uncovered() == {"a": 4, "b": 5, "c": 4}
    assert parts.match("heads").disjoint() and not parts.disjoint()
