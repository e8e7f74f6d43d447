"""Steering the induction circuit of pico-mini: features of any token row, weights from a plan, and their controls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from susceptometer.domains import scores
from susceptometer.domains.making import repeat_scores
from susceptometer.domains.transformer import TransformerConfig, loss
from susceptometer.domains.transformer_training import stacked_loss
from susceptometer.patterning.controls import flagged, permuted, ranked_by
from susceptometer.patterning.steer import WeightRule
from susceptometer.rng import stream
from susceptometer.structure.patterns import PATTERNS, token_patterns
from susceptometer.train.loop import Measure, stack, unstack
from susceptometer.types import Batch, Params

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

LONGEST_MATCH = 6
"""Matches of more tokens count as this long."""


def match_length(ids: Ids) -> Ids:
    """For every target: how many tokens before it agree with those before an earlier copy of it, at most six.

    Zero where the target has not been seen in the row, or after another token. ``[rows, K] -> [rows, K - 1]``; the
    first token (begin of row) is no context.
    """
    rows, length = ids.shape
    best = np.zeros((rows, length), dtype=np.int64)
    run = np.zeros((rows, length), dtype=np.int64)  # run[:, j]: length of the match that ends at (place, j)
    for place in range(1, length):
        equal = ids[:, 1:place] == ids[:, place : place + 1]
        before = np.concatenate([np.zeros((rows, 1), np.int64), run[:, 1 : place - 1]], 1)[:, : place - 1]
        if place > 1:
            best[:, place] = np.where(equal, before, 0).max(1)
        run[:, 1:place] = np.where(equal, before + 1, 0)
        run[:, place:] = 0
    return np.minimum(best[:, 1:], LONGEST_MATCH)


def seen_before(ids: Ids) -> Ids:
    """How often each target occurred earlier in its row: ``[rows, K] -> [rows, K - 1]``."""
    equal = ids[:, :, None] == ids[:, None, :]
    return np.tril(equal, -1).sum(2)[:, 1:]


@dataclass(frozen=True, eq=False)
class TokenReader:
    """What the features need: token strings, and two stages of one trained model.

    Args:
        strings: Of every token id.
        early: Weights before the circuit formed.
        late: Weights after it.
        config: Their shape.
    """

    strings: Sequence[str]
    early: Params
    late: Params
    config: TransformerConfig

    @torch.no_grad()
    def losses(self, ids: Ids) -> Array:
        """Loss of both models on every target, nats ``[2, rows, K - 1]`` (bfloat16 products)."""
        tokens = torch.from_numpy(ids).expand(2, *ids.shape)
        return stacked_loss(stack([self.early, self.late]), {"tokens": tokens}, self.config).double().numpy()

    def flags(self, ids: Ids) -> NDArray[np.bool_]:
        """Pattern flags of every target ``[patterns, rows, K - 1]``."""
        return token_patterns([[self.strings[i] for i in row] for row in ids.tolist()], ids)[:, :, 1:]

    def features(self, ids: Ids) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Features ``[rows, K - 1, features]``, late loss and induction flag ``[rows, K - 1]`` each.

        Features: late loss, early minus late loss, match length, times seen before, ids of target and of the token
        before it, position, pattern flags.
        """
        early, late = self.losses(ids)
        flags = self.flags(ids)
        place = np.broadcast_to(np.arange(late.shape[1]), late.shape)
        numbers = [late, early - late, match_length(ids), seen_before(ids), ids[:, 1:], ids[:, :-1], place]
        table = np.stack([*(np.asarray(n, np.float64) for n in numbers), *flags.astype(np.float64)], -1)
        return table, late, flags[PATTERNS.index("induction")]


@dataclass(frozen=True, eq=False)
class Scored:
    """Standardised dh, late loss and induction flag of every token of the steps from ``first`` on.

    ``[steps, rows, K - 1]`` each.
    """

    planned: NDArray[np.float16]
    loss: NDArray[np.float16]
    flag: NDArray[np.bool_]
    first: int

    def at(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """The three of one step, float32 and bool ``[rows, K - 1]``."""
        at = step - self.first
        parts = (self.planned[at].astype(np.float32), self.loss[at].astype(np.float32), self.flag[at])
        a, b, c = map(torch.from_numpy, parts)
        return a, b, c


def planned_weights(scores_of: Tensor, strength: float, highest: float = 5.0) -> Tensor:
    """``clip(1 + a z, 0, highest)`` divided by its mean per model: ``[models, rows, K - 1]``."""
    weights = (1 + strength * scores_of).clamp(0.0, highest)
    return weights / weights.flatten(1).mean(1)[:, None, None]


KINDS = ("plan", "permuted", "loss", "flag")


def rule(kind: str, strength: float, scored: Sequence[Scored], *, seed: int) -> WeightRule:
    """Weights of an arm: the plan's, or a control with the same histogram (``flag``: the same deviation).

    Args:
        kind: ``plan``; ``permuted`` over the tokens of a batch; ``loss``: sorted by the late model's loss, the largest
            weights to the largest loss for positive strength; ``flag``: two weights, by the surface rule `induction`.
        strength: Deviation of the weights before clipping; positive for more of the circuit's tokens.
        scored: One per model of the stack.
        seed: Of the permutations.
    """

    def weights(step: int, batch: Batch) -> Tensor:
        planned, losses, flag = (torch.stack(parts) for parts in zip(*(s.at(step) for s in scored), strict=True))
        made = planned_weights(planned, strength)
        if kind == "permuted":
            return permuted(made, stream(seed, "permuted weights", step))
        if kind == "loss":
            return ranked_by(made, losses if strength > 0 else -losses)
        if kind == "flag":
            return flagged(flag, float(np.sign(strength)) * float(made.std()))
        return made

    return weights


def circuit_measure(config: TransformerConfig, text: Tensor) -> Measure:
    """Scores of every model: ``prefix_matching`` (best head behind layer 0), ``previous_token`` (best head of layer
    0), ``in_context`` and ``loss`` on unweighted text, ``repeat_gain`` (first minus second copy), nats.
    """

    @torch.no_grad()
    def one(params: Params) -> Mapping[str, float]:
        prefix, previous, repeat = repeat_scores(params, config)
        on_text = loss(params, {"tokens": text}, config)
        late = config.context - config.context // 10
        return {
            "prefix_matching": float(prefix[1:].max()), "previous_token": float(previous[0].max()),
            "in_context": float(scores.in_context_score(on_text, config.context // 10, late)),
            "loss": float(on_text.mean()), "repeat_gain": float(repeat[0] - repeat[1]),
        }  # fmt: skip

    return lambda _, params: {"models": [one(model) for model in unstack(params)]}


def training_loss(config: TransformerConfig) -> Callable[[Params, Batch], Tensor]:
    """Loss of a stack of models for the training loop."""
    return partial(stacked_loss, config=config)
