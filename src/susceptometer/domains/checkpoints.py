"""One text, many weights: the checkpoints and training seeds of a bundled model as subjects that share their tokens."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from susceptometer.domains.language import LanguageSource, load_source, source_from_dict
from susceptometer.domains.pico import available, load_weights, making_of
from susceptometer.domains.transformer_stages import TransformerStages
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
    return replace(subject, name=f"{source.model}, seed {trained}, step {at:,}", params=params, stages=stages, meta=meta)


def stored_text(subject: Subject) -> dict[str, np.ndarray]:
    """Token rows of data and probes by name, ``int16 [rows, K]`` (``data`` first): what `with_text` puts back."""
    rows = {"data": subject.data, **{f"probe {name}": batch for name, batch in subject.probes.items()}}
    return {name: batch["tokens"].numpy().astype(np.int32) for name, batch in rows.items()}


def with_text(source: LanguageSource, stored: Mapping[str, np.ndarray]) -> Subject:
    """A bundled model on token rows kept by `stored_text`, without encoding the text of ``source`` again."""
    short = replace(source, data=None)
    plain = load_source(replace(short, plan=replace(source.plan, data_rows=1, base_rows=1, probe_rows=1)))
    rows: dict[str, Tensor] = {name: torch.from_numpy(each.astype(np.int64)) for name, each in stored.items()}
    probes = {name.removeprefix("probe "): {"tokens": each} for name, each in rows.items() if name != "data"}
    meta = {**plain.meta, "source": source.as_dict()}
    return replace(plain, data={"tokens": rows["data"]}, probes=probes, meta=meta)
