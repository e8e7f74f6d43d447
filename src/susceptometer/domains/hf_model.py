"""Hugging Face models as this package needs them: loaded in float32, and copied without copying weights."""

import copy
import os
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from susceptometer.domains.hf_placed import one_device, unhook
from susceptometer.errors import DataError, SubjectError

Source = PreTrainedModel | str | os.PathLike
"""A model object, a local folder, or a hub id with an optional ``@revision``."""


def load_model(source: Source) -> PreTrainedModel:
    """The causal language model that ``source`` names; weights read from disk become float32.

    Args:
        source: A ``PreTrainedModel`` (returned as it is), a folder, or ``name`` or ``name@revision``.

    Raises:
        DataError: No such folder, or a hub id that is neither cached nor reachable.
        SubjectError: The files or the object hold no causal language model.
    """
    if isinstance(source, nn.Module):
        return _checked(source, type(source).__name__)
    name, revision = name_and_revision(source)
    if (Path(name) / "config.json").is_file():
        return _checked(_read(name, None), name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        raise DataError(
            "there is no such model folder",
            where="load_model",
            value=str(source),
            why="nothing can be read from it",
            do="pass a folder with config.json and weights, or a hub id name@revision",
        )
    return _checked(_read(name, revision or "main"), str(source))


def name_and_revision(source: str | os.PathLike) -> tuple[str, str | None]:
    """A folder as it is (it may hold an ``@``), or the parts of a hub id ``name@revision``."""
    if Path(source).is_dir():
        return str(source), None
    name, _, revision = str(source).partition("@")
    return name, revision or None


def _read(name: str, revision: str | None) -> PreTrainedModel:
    where = {} if revision is None else {"revision": revision}
    try:
        return AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, **where)
    except OSError as error:
        raise DataError(
            "a model cannot be read",
            where=name,
            value=revision,
            why=str(error).split("\n", 1)[0],
            do="check the name, the revision and the network, or give a local folder",
        ) from error
    except (ValueError, KeyError) as error:
        raise SubjectError(
            "the model is not a causal language model",
            where=name,
            why=str(error).split("\n", 1)[0],
            do="pass a model that AutoModelForCausalLM can load",
        ) from error


def _checked(model: nn.Module, name: str) -> PreTrainedModel:
    fine = isinstance(model, PreTrainedModel) and model.get_output_embeddings() is not None
    if not fine or model.config.is_encoder_decoder:
        raise SubjectError(
            "the model is not a causal language model",
            where=name,
            value=type(model).__name__,
            why="a loss per next token needs one",
            do="pass a ...ForCausalLM model; other models become subjects with Subject(loss=...)",
        )
    return model


def skeleton(model: PreTrainedModel, device: torch.device | str | None = None) -> PreTrainedModel:
    """A copy of the model's modules that shares its float32 weights, for measuring and running.

    The copy is in evaluation mode (dropout off), uses eager attention (it supports ``vmap``, double backward and
    forward-mode derivatives; the fused kernels do not), and no weight requires gradient. The user's
    model is not touched, whatever is done to the copy. Half-precision weights are widened to a float32 master copy.

    Args:
        model: Any model, also one loaded with a ``device_map``.
        device: Where the copy computes; None: where the weights are.

    Raises:
        SubjectError: Weights are offloaded, or split over devices and no device is given.
    """
    place = one_device(model, device)
    with torch.no_grad():
        memo: dict[int, object] = {id(p): _frozen(p.to(place)) for p in model.parameters()}
        memo |= {id(b): _wide(b.to(place)) for b in model.buffers()}
    twin = copy.deepcopy(model, memo)
    unhook(twin)
    twin.config._attn_implementation = "eager"  # noqa: SLF001 - the setter of the configuration
    return twin.eval()


def _frozen(value: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(_wide(value.detach()), requires_grad=False)


def _wide(value: torch.Tensor) -> torch.Tensor:
    half = value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def context_length(model: PreTrainedModel) -> int | None:
    """Longest row of tokens the model takes, or None where the configuration names no limit."""
    names = ("max_position_embeddings", "n_positions", "max_seq_len")
    limits = [getattr(model.config, name, None) for name in names]
    return next((limit for limit in limits if isinstance(limit, int)), None)
