"""Modes of real text and of a bundled language model's own law, and the model's loss on truncated labels."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from susceptometer.domains.transformer import TransformerConfig, logits
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.structure.modes import Modes, Variant, modes_of_gram
from susceptometer.testbed.form import Array
from susceptometer.types import Batch, Params

BATCH_ROWS = 16


def truncated_subject(subject: Subject, config: TransformerConfig, found: Modes, count: int) -> Subject:
    """A language subject whose one-hot labels e_y are replaced by the signed soft labels P e_y of ``count`` modes.

    Args:
        subject: A bundled language model with its text.
        config: Its shape.
        found: Modes over the model's vocabulary.
        count: Modes kept; all of them leave the cross-entropy as it is (to rounding).

    Returns:
        The subject with the truncated loss and the one component ``full``.
    """
    left, right = (torch.tensor(part, dtype=torch.float32) for part in found.factors(count))

    def loss(params: Params, batch: Batch) -> Tensor:
        tokens = batch["tokens"]
        log_p = torch.log_softmax(logits(params, tokens[..., :-1], config), -1)
        return -(right[tokens[..., 1:]] * (log_p @ left)).sum(-1)

    whole = {"full": whole_component("full", subject.params)}
    name = f"{subject.name}, {count} modes"
    return replace(subject, name=name, loss=loss, stages=None, components=whole)


def rotated(found: Modes, count: int, *, seed: int) -> Modes:
    """Null: ``count`` random orthonormal output vectors of which the first is the true first mode."""
    draw = np.random.default_rng(seed).standard_normal((len(found.output_law), count - 1))
    basis = np.linalg.qr(np.column_stack([found.vectors[:, :1], draw]))[0]
    return replace(found, amplitude=found.amplitude[:count], vectors=basis, contexts=None)


@torch.no_grad()
def model_modes(
    params: Params, tokens: Tensor, config: TransformerConfig, rank: int | None = None, *, variant: Variant = "l2"
) -> Modes:
    """Modes of the model's own law, G = E_x[p_w(.|x) p_w(.|x)'] over all contexts of ``tokens`` [rows, K].

    No counting noise, any context length.
    """
    gram = torch.zeros(config.vocabulary, config.vocabulary, dtype=torch.float64)
    law = torch.zeros(config.vocabulary, dtype=torch.float64)
    seen = 0
    for part in tokens.split(BATCH_ROWS):
        p = logits(params, part[:, :-1], config).softmax(-1).reshape(-1, config.vocabulary).double()
        gram, law, seen = gram + p.mT @ p, law + p.sum(0), seen + len(p)
    return modes_of_gram((gram / seen).numpy(), (law / seen).numpy(), rank, variant=variant)


@torch.no_grad()
def mode_rises(
    subject: Subject, config: TransformerConfig, found: Modes, weights: Array, kept: Array
) -> tuple[Array, Array]:
    """Rise of the loss above w* when the first modes are kept, on the probe ``base``, and of the whole loss, nats.

    Args:
        subject: A bundled language model whose component ``full`` has moved.
        config: Its shape.
        found: Modes over the vocabulary.
        weights: Positions ``[..., d]``.
        kept: Numbers of modes ``[K]``.

    Returns:
        ``[..., K]`` and ``[...]``.
    """
    tokens, full = subject.probes["base"]["tokens"], subject.components["full"]
    left, right = (torch.tensor(part, dtype=torch.float32) for part in found.factors(found.rank))
    outputs = tokens[:, 1:].flatten()

    def losses(params: Params) -> tuple[Array, float]:
        log_p = torch.log_softmax(logits(params, tokens[:, :-1], config), -1).flatten(0, 1)
        by_mode = -(right[outputs] * (log_p @ left)).mean(0).double().cumsum(0).numpy()
        return by_mode[kept - 1], float(-log_p.gather(1, outputs[:, None]).double().mean())

    center, places = losses(subject.params), weights.reshape(-1, weights.shape[-1])
    moved = [losses(full.scatter(subject.params, torch.tensor(place))) for place in places]
    parts = np.array([part for part, _ in moved]) - center[0]
    whole = np.array([value for _, value in moved]) - center[1]
    return parts.reshape(*weights.shape[:-1], -1), whole.reshape(weights.shape[:-1])


def propensities(found: Modes, conditional: Array, outputs: Array) -> Array:
    """s_a u_a(y) v_a(x) of every (context, output) pair, ``[rows, r]``; rows sum to the truncated q(y|x).

    Args:
        found: Modes.
        conditional: q(.|x) of the pairs' contexts ``[rows, V]``.
        outputs: y ``[rows]``.
    """
    left, right = found.factors(found.rank)
    return left[outputs] * (conditional @ right)
