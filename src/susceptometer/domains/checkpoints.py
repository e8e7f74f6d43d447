"""One text, many weights: the checkpoints and training seeds of a bundled model as subjects that share their tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from susceptometer.domains.corpus import default_text
from susceptometer.domains.language import LanguageSource, encoder_of, source_from_dict, text_rows
from susceptometer.domains.pico import available, load_weights, making_of
from susceptometer.domains.transformer import loss, shapes
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.domains.user_text import text_documents
from susceptometer.posterior.subject import Subject


def at_checkpoint(subject: Subject, *, trained: int = 0, step: int = -1) -> Subject:
    """The same text under other weights of the same bundled model.

    Args:
        subject: A bundled language model, as `language.load` returns it.
        trained: Training seed.
        step: Training step; negative counts from the last stored one.

    Raises:
        DataError: The seed or the step is not stored.
    """
    source = source_from_dict(subject.meta["source"])  # type: ignore[arg-type]
    params = load_weights(source.model, seed=trained, step=step)
    steps = available(source.model)[trained]
    at = steps[step] if step < 0 else step
    meta = {**subject.meta, "source": replace(source, trained=trained, step=at).as_dict()}
    stages = TransformerStages(params, making_of(source.model).config)
    return replace(
        subject, name=f"{source.model}, seed {trained}, step {at:,}", params=params, stages=stages, meta=meta
    )


def text_tokens(source: LanguageSource, *, characters: int | None = None) -> dict[str, np.ndarray]:
    """Token rows of a bundled model's data and probes by name, ``int32 [rows, K]``: what `with_text` takes.

    Args:
        source: Model and text; its step and training seed do not matter.
        characters: Text taken of each domain, at most; None: all of it. A cap makes a small reading start quickly.
    """
    documents = default_text() if source.data is None else text_documents(source.data)
    taken = documents if characters is None else {name: capped(texts, characters) for name, texts in documents.items()}
    data, probes = text_rows(taken, encoder_of(source.model), source.plan)
    rows = {"data": data, **{f"probe {name}": each for name, each in probes.items()}}
    return {name: each.numpy().astype(np.int32) for name, each in rows.items()}


def capped(texts: Sequence[str], characters: int) -> list[str]:
    """The first texts up to a number of characters, the last one cut."""
    kept: list[str] = []
    for text in texts:
        room = characters - sum(map(len, kept))
        if room <= 0:
            break
        kept.append(text[:room])
    return kept


def with_text(source: LanguageSource, stored: Mapping[str, np.ndarray]) -> Subject:
    """A bundled model's weights on token rows made by `text_tokens`, without encoding text again."""
    config = making_of(source.model).config
    params = load_weights(source.model, seed=source.trained, step=source.step)
    rows: dict[str, Tensor] = {name: torch.from_numpy(each.astype(np.int64)) for name, each in stored.items()}
    return Subject(
        name=f"{source.model}, seed {source.trained}, step {source.step}",
        params=params,
        loss=partial(loss, config=config),
        data={"tokens": rows["data"]},
        probes={name.removeprefix("probe "): {"tokens": each} for name, each in rows.items() if name != "data"},
        components=transformer_components(shapes(config)),
        stages=TransformerStages(params, config),
        meta={"token_strings": encoder_of(source.model).strings, "source": source.as_dict()},
    )
