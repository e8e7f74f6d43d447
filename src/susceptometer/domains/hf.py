"""Any Hugging Face causal language model as a subject: loss per token, named parts, fast stages."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from transformers import PreTrainedModel

from susceptometer.domains.hf_components import hf_components
from susceptometer.domains.hf_data import TokenSource, check_vocabulary, token_rows, token_texts
from susceptometer.domains.hf_model import Source, context_length, load_model, skeleton
from susceptometer.domains.hf_stages import HFStages
from susceptometer.posterior.subject import Subject
from susceptometer.types import Batch, Params


@dataclass(frozen=True)
class LanguageLoss:
    """``loss(params, batch) -> [rows, K-1]``: nats of every next token, unreduced, dropout off.

    Args:
        model: A `skeleton` (evaluation mode, eager attention).
    """

    model: PreTrainedModel

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        """Loss of ``batch["tokens"]`` ``[rows, K]`` at ``params``; float32 or wider."""
        tokens = batch["tokens"]
        inputs = {"input_ids": tokens[:, :-1], "use_cache": False}
        logits = functional_call(self.model, params, args=(), kwargs=inputs).logits
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")


def language_subject(
    model: Source,
    tokens: TokenSource,
    probes: Mapping[str, TokenSource],
    *,
    tokenizer: object | None = None,
    name: str | None = None,
    precision: str = "float32",
) -> Subject:
    """A causal language model, its data and probes as a `Subject`.

    Args:
        model: Model object, local folder, or hub id ``name@revision``. It is never modified; bfloat16 or float16
            weights are widened to a float32 master copy (said in ``meta["weights"]``). A model that a ``device_map``
            split is gathered first: ``hf_model.skeleton(model, "cuda:0")``.
        tokens: Rows that define L_n, integers ``[rows, K]`` or an ``.npy`` path. Targets are positions 2..K.
        probes: Named fixed rows; ``base`` defines the baseline.
        tokenizer: Optional; checked against the vocabulary, and its token strings go to ``meta``.
        name: Name in messages and files; by default the model's own.
        precision: Of the matrix products of the staged engine: ``float32``, ``mixed`` (losses in float32, gradients in
            bfloat16) or ``bfloat16`` (products in bfloat16, sums in float32); see ``posterior.products``.

    Raises:
        DataError: Missing folder or file, wrong shape, token out of range, tokenizer of another model.
        SubjectError: Not a causal language model, no base probe, a non-finite or random loss.
    """
    original = load_model(model)
    twin = skeleton(original)
    vocabulary = twin.get_input_embeddings().weight.shape[0]
    if tokenizer is not None:
        check_vocabulary(len(tokenizer), vocabulary)
    limit = context_length(twin)
    held = {
        key: {"tokens": token_rows(rows, vocabulary, limit, where=f"probe {key!r}").to(twin.device)}
        for key, rows in probes.items()
    }
    params = {key: value.detach() for key, value in twin.named_parameters()}
    components = hf_components(twin)
    return Subject(
        name=name or _name(model, original),
        params=params,
        loss=LanguageLoss(twin),
        data={"tokens": token_rows(tokens, vocabulary, limit).to(twin.device)},
        probes=held,
        components=components,
        stages=HFStages(twin, precision),
        meta=_meta(original, twin, tokenizer),
    )


def _name(source: Source, model: PreTrainedModel) -> str:
    return str(source) if not isinstance(source, PreTrainedModel) else type(model).__name__


def _meta(original: PreTrainedModel, twin: PreTrainedModel, tokenizer: object | None) -> dict:
    dtype = str(next(original.parameters()).dtype).removeprefix("torch.")
    tied = twin.get_output_embeddings().weight is twin.get_input_embeddings().weight
    meta = {
        "architecture": type(original).__name__,
        "layers": getattr(original.config, "num_hidden_layers", None),
        "weights": dtype if dtype in {"float32", "float64"} else f"{dtype}, held as float32",
        "tied": "embed and unembed are one parameter" if tied else "no",
    }
    if tokenizer is not None:
        size = twin.get_input_embeddings().weight.shape[0]
        meta["token_strings"] = token_texts(tokenizer)[:size]
    return meta
