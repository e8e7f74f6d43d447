"""The residual stream of a language subject, token by token, lined up with the reading's targets."""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from susceptometer.domains.hf import LanguageLoss
from susceptometer.domains.transformer import logits as transformer_logits
from susceptometer.domains.transformer import streams
from susceptometer.errors import SubjectError
from susceptometer.posterior.subject import Subject

Place = Literal["context", "target"]
"""``context``: at the last token of the context, where the target is predicted; ``target``: at the target itself."""

BLOCK = 32
"""Rows that run together."""


@torch.no_grad()
def residual_streams(subject: Subject, tokens: Tensor) -> list[Tensor]:
    """Residual stream before every block and after the last: ``layers + 1`` of ``[rows, K, d]``.

    The last one of a Hugging Face model is behind its final norm, as that library gives it.

    Args:
        subject: A bundled or a Hugging Face language model.
        tokens: ``[rows, K]``.

    Raises:
        SubjectError: Not a language model that this package made.
    """
    blocks = [torch.stack(found) for found in _blocks(subject, tokens)]
    return list(torch.cat(blocks, dim=1))


def target_activations(stream: Tensor, place: Place) -> Tensor:
    """A stream of the inputs ``[rows, K - 1, d]`` as one vector per target in reading order, ``[rows (K - 1), d]``.

    The last target of a row is no input: its vector at ``target`` is NaN.
    """
    if place == "target":
        nothing = torch.full_like(stream[:, :1], torch.nan)
        stream = torch.cat([stream[:, 1:], nothing], dim=1)
    return stream.reshape(-1, stream.shape[-1])


def probe_tokens(subject: Subject) -> Tensor:
    """Token rows of all probes in reading order, ``[rows, K]``; probes must have equal row lengths."""
    names = ["base", *[name for name in subject.probes if name != "base"]]
    return torch.cat([subject.probes[name]["tokens"] for name in names])


def _blocks(subject: Subject, tokens: Tensor) -> Iterator[list[Tensor]]:
    config = getattr(subject.loss, "keywords", {}).get("config")
    for part in tokens.split(BLOCK):
        if config is not None:
            yield streams(subject.params, part, config)
        elif isinstance(subject.loss, LanguageLoss):
            asked = {"input_ids": part, "use_cache": False, "output_hidden_states": True}
            found = functional_call(subject.loss.model, subject.params, args=(), kwargs=asked)
            yield list(found.hidden_states)
        else:
            raise SubjectError(
                "this subject has no residual stream",
                where=subject.name,
                value=type(subject.loss).__name__,
                why="its layers are not known",
                do="load the model with susceptometer.language.load",
            )


@torch.no_grad()
def auxiliary_inputs(subject: Subject, tokens: Tensor) -> Tensor:
    """What the auxiliary network sees of every target (reading.md 9), ``[rows (K - 1), inputs]``.

    The residual streams at the last token of the context (all of them in a model of up to 3 layers, else four spread
    evenly), the embedding of the target, its loss, and the entropy of the prediction, both in nats.

    Args:
        subject: A bundled or a Hugging Face language model.
        tokens: ``[rows, K]``.
    """
    parts = []
    for rows in tokens.split(BLOCK):
        streams_found = residual_streams(subject, rows[:, :-1])
        chosen = sorted(set(torch.linspace(0, len(streams_found) - 1, 4).round().int().tolist()))
        logits = _logits(subject, rows[:, :-1]).log_softmax(-1)
        loss = -logits.gather(-1, rows[:, 1:, None])
        entropy = -(logits.exp() * logits).sum(-1, keepdim=True)
        embedded = F.embedding(rows[:, 1:], _embedding(subject))
        found = torch.cat([*(streams_found[place] for place in chosen), embedded, loss, entropy], dim=-1)
        parts.append(found.reshape(-1, found.shape[-1]))
    return torch.cat(parts)


def _logits(subject: Subject, inputs: Tensor) -> Tensor:
    config = getattr(subject.loss, "keywords", {}).get("config")
    if config is not None:
        return transformer_logits(subject.params, inputs, config)
    assert isinstance(subject.loss, LanguageLoss)
    asked = {"input_ids": inputs, "use_cache": False}
    return functional_call(subject.loss.model, subject.params, args=(), kwargs=asked).logits.float()


def _embedding(subject: Subject) -> Tensor:
    """Token embeddings ``[vocabulary, d]``."""
    if isinstance(subject.loss, LanguageLoss):
        return subject.loss.model.get_input_embeddings().weight  # type: ignore[return-value]
    return subject.params["embed.W_E"]
