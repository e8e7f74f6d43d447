"""A tiny transformer with random weights, two probes and two heads: readings of it take a fraction of a second."""

from functools import partial

import torch

from susceptometer.domains.transformer import TransformerConfig, init_params, loss, shapes
from susceptometer.posterior.component import Component, Piece
from susceptometer.posterior.component_set import ComponentSet
from susceptometer.posterior.subject import Subject
from susceptometer.rng import stream
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD

CONFIG = TransformerConfig(layers=1, d_model=8, heads=2, context=8, vocabulary=11)
HEADS = "blocks.*.attn.head.*"


def rows(name, count=6):
    """Random token rows, fixed by their name."""
    return {"tokens": torch.randint(CONFIG.vocabulary, (count, 9), generator=stream(7, name))}


def head(number):
    """One attention head of the only layer."""
    size = shapes(CONFIG)
    names = [f"blocks.0.attn.W_{letter}" for letter in "QKVO"]
    boxes = [(slice(number, number + 1), *(slice(0, n) for n in size[name][1:])) for name in names]
    pieces = tuple(Piece(n, size[n], box) for n, box in zip(names, boxes, strict=True))
    return Component(f"blocks.0.attn.head.{number}", pieces)


def tiny(weights=0, *, data="data"):
    """The subject; other ``weights`` or ``data`` make another subject of the same shape."""
    components = ComponentSet([head(0), head(1)], shapes(CONFIG))
    probes = {"base": rows("base"), "other": rows("other")}
    params = init_params(CONFIG, seed=weights)
    return Subject("tiny", params, partial(loss, config=CONFIG), rows(data), probes, components)


def recipe(groups=4, *, draws=6):
    """A short mini-batch recipe with coupled chains."""
    return Recipe(
        sampler=SGLD(step_size=1e-3),
        schedule=Schedule(groups=groups, burn_in=4, draws=draws, thin=2),
        n_beta=10.0, gamma=50.0, coupling=coupled(), batch_rows=3,
    )  # fmt: skip


def same_numbers(one, other):
    """Whether two readings hold bit for bit the same arrays."""
    names = list(one.cells)
    return names == list(other.cells) and all(one.cell(n).equals(other.cell(n)) for n in names)
