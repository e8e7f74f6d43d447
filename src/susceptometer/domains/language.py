"""Language models by name: the bundled pico, a local Hugging Face folder, or a hub id; with text to read them on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from susceptometer.domains.corpus import default_text, generated_probe
from susceptometer.domains.pico import MAKINGS, available, load_weights, making_of, tokenizer_of
from susceptometer.domains.probe_text import PROBES
from susceptometer.domains.stream_text import HUB, hub_rows, stream_documents
from susceptometer.domains.token_text import (
    Encoder,
    TextPlan,
    data_and_probes,
    domain_rows,
    packed,
    spread,
)
from susceptometer.domains.tokenizer import BOS_ID
from susceptometer.domains.transformer import check_tokens, loss, shapes
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.domains.user_text import text_documents
from susceptometer.errors import DataError
from susceptometer.posterior.products import checked
from susceptometer.posterior.subject import Subject

Documents = Mapping[str, Sequence[str]]
"""Texts by domain."""

PROBE_SEED = 0
"""Fixes the generated probes of every language subject."""


@dataclass(frozen=True)
class LanguageSource:
    """Which model and which text: enough to load the same subject again.

    Args:
        model: ``pico``, ``pico-mini``, a local Hugging Face folder, or a hub id ``name@revision``.
        step: Training step of a bundled model; negative counts from the last one stored.
        trained: Which of the bundled model's training seeds.
        data: Text file or folder (see `user_text.text_documents`), ``hub:NAME`` (`stream_text.hub_rows`), or token rows
            ``.npy``; None: the default text.
        plan: How much of it.
        precision: Of matrix products in chains and observables (`posterior.products`): ``float32``, ``mixed`` or
            ``bfloat16``.
    """

    model: str
    step: int = -1
    trained: int = 0
    data: str | None = None
    plan: TextPlan = field(default_factory=TextPlan)
    precision: str = "float32"

    def as_dict(self) -> dict[str, object]:
        """JSON-ready form; inverse of `source_from_dict`."""
        return asdict(self)


def source_from_dict(stored: Mapping[str, object]) -> LanguageSource:
    """The source stored by `LanguageSource.as_dict`."""
    plan = stored["plan"]
    assert isinstance(plan, Mapping)
    return LanguageSource(**{**stored, "plan": TextPlan(**plan)})  # type: ignore[arg-type]


def load(
    name: str | Path,
    *,
    step: int = -1,
    data: str | Path | Iterable | None = None,
    plan: TextPlan | None = None,
    precision: str = "float32",
) -> Subject:
    """A language model as a subject, with real text.

    Data are rows spread over the text; probes are ``base`` (a part of the data), one per domain of the text, and the
    generated ones (arithmetic, brackets, repeats, white space).

    Args:
        name: ``pico``, ``pico-mini``, a local Hugging Face folder, or a hub id ``name@revision``.
        step: Training step of a bundled model; -1 is the last.
        data: Text file or folder, token rows ``.npy``, ``hub:NAME`` (a data set of the hub, streamed), or any iterator
            of texts or rows, read only as far as needed (`stream_text`); None: text found on any Python installation.
        plan: How much text; None: `TextPlan()`, its rows no longer than a bundled model's context allows.
        precision: Of matrix products: ``float32``; ``mixed`` (losses in float32, gradients in bfloat16); ``bfloat16``
            (fastest; losses of a token err by about 0.01 nats). Runs of different precision never share cells.

    Raises:
        DataError: Missing file, too little text, tokens outside the vocabulary, unknown step or folder.
        SubjectError: No causal language model; a loss that is not finite or not deterministic.
        RecipeError: Unknown precision.
    """
    text = str(data) if isinstance(data, str | Path) else None
    source = LanguageSource(
        str(name), step=step, data=text, plan=plan or usual_plan(str(name)), precision=checked(precision)
    )
    if data is None or isinstance(data, str | Path):
        return load_source(source)
    return _loaded(source, stream_documents(data, source.plan))


def usual_plan(name: str) -> TextPlan:
    """The default amount of text, in rows that fit the model if it is a bundled one."""
    usual = TextPlan()
    if name not in MAKINGS:
        return usual
    return replace(usual, length=min(usual.length, making_of(name).config.context + 1))


def load_source(source: LanguageSource) -> Subject:
    """The subject that a source names, with what makes it again in ``meta``; see `load`."""
    subject = _loaded(source, None)
    again = {"source": source.as_dict(), "rebuild": partial(load_source, source)}
    return replace(subject, meta={**subject.meta, **again})


def _loaded(source: LanguageSource, documents: Documents | None) -> Subject:
    return _bundled(source, documents) if source.model in MAKINGS else _hugging_face(source, documents)


def text_probes(source: LanguageSource, data: str | Path) -> dict[str, dict[str, Tensor]]:
    """Probes of new text for a model that was read: one per domain, every row of it up to ``plan.base_rows``.

    Raises:
        DataError: The text is missing, unreadable or too short.
    """
    if str(data).endswith(".npy"):
        from susceptometer.domains.hf_data import token_rows

        return {Path(data).stem: {"tokens": token_rows(data, len(encoder_of(source.model).strings))}}
    rows = domain_rows(text_documents(data), encoder_of(source.model), source.plan.length)
    return {name: {"tokens": spread(each, source.plan.base_rows)} for name, each in rows.items()}


def _bundled(source: LanguageSource, documents: Documents | None) -> Subject:
    config, plan = making_of(source.model).config, source.plan
    if plan.length > config.context + 1:
        raise DataError(
            "rows are longer than the model's context",
            where="plan.length",
            value=plan.length,
            why=f"the model reads at most {config.context} tokens and one target",
            do=f"use length {config.context + 1} or less",
        )
    params = load_weights(source.model, seed=source.trained, step=source.step)
    encoder = encoder_of(source.model)
    data, probes = _text(source, documents, encoder, config.vocabulary)
    for tokens in (data, *probes.values()):
        check_tokens(tokens, config)
    sizes = shapes(config)
    steps = available(source.model)[source.trained]
    at = steps[source.step] if source.step < 0 else source.step
    return Subject(
        name=f"{source.model}, step {at:,}",
        params=params,
        loss=partial(loss, config=config),
        data={"tokens": data},
        probes={name: {"tokens": tokens} for name, tokens in probes.items()},
        components=transformer_components(sizes),
        stages=TransformerStages(params, config, source.precision),
        meta={"token_strings": encoder.strings},
    )


def _hugging_face(source: LanguageSource, documents: Documents | None) -> Subject:
    from susceptometer.domains.hf import language_subject
    from susceptometer.domains.hf_model import load_model

    model = load_model(source.model)
    vocabulary = len(cast("Tensor", model.get_input_embeddings().weight))
    if source.data is not None and source.data.endswith(".npy"):
        data, probes = _token_file(source, vocabulary)
        return language_subject(model, data, probes, name=source.model, precision=source.precision)
    tokenizer = _tokenizer(source.model)
    data, probes = _text(source, documents, _hub_encoder(tokenizer), vocabulary)
    return language_subject(model, data, probes, tokenizer=tokenizer, name=source.model, precision=source.precision)


def _text(
    source: LanguageSource, documents: Documents | None, encoder: Encoder, vocabulary: int
) -> tuple[Tensor, dict[str, Tensor]]:
    if source.data is not None and source.data.endswith(".npy"):
        return _token_file(source, vocabulary)
    if documents is None:
        documents = default_text() if source.data is None else _documents(source.data, source.plan)
    return text_rows(documents, encoder, source.plan)


def _documents(data: str | Path, plan: TextPlan) -> Documents:
    """Documents by domain of a file, a folder or a data set of the hub."""
    if str(data).startswith(HUB):
        return stream_documents(hub_rows(str(data)), plan, where=str(data))
    return text_documents(data)


def text_rows(
    documents: Mapping[str, Sequence[str]], encoder: Encoder, plan: TextPlan
) -> tuple[Tensor, dict[str, Tensor]]:
    """Data ``[rows, K]`` and probes of documents by domain, the generated probes added; see `load`."""
    made = {name: _generated(name, encoder, plan) for name in PROBES}
    return data_and_probes(domain_rows(documents, encoder, plan.length), made, plan)


def _generated(name: str, encoder: Encoder, plan: TextPlan) -> Tensor:
    texts = generated_probe(name, seed=PROBE_SEED, rows=plan.probe_rows)
    return packed(texts, encoder, plan.length)


def _token_file(source: LanguageSource, vocabulary: int) -> tuple[Tensor, dict[str, Tensor]]:
    from susceptometer.domains.hf_data import token_rows

    rows = token_rows(str(source.data), vocabulary, where=str(source.data))
    return spread(rows, source.plan.data_rows), {"base": spread(rows, source.plan.base_rows)}


def encoder_of(model: str) -> Encoder:
    """The text encoding of a bundled model or of a Hugging Face one."""
    if model not in MAKINGS:
        return _hub_encoder(_tokenizer(model))
    tokenizer = tokenizer_of(model)
    strings = tuple(tokenizer.decode([i], skip_special_tokens=False) for i in range(tokenizer.get_vocab_size()))

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return Encoder(encode, BOS_ID, BOS_ID, strings)


def _hub_encoder(tokenizer: Any) -> Encoder:
    from susceptometer.domains.hf_data import token_texts

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]

    strings = tuple(token_texts(tokenizer))
    start = tokenizer.bos_token_id
    return Encoder(encode, start, start if start is not None else tokenizer.eos_token_id, strings)


def _tokenizer(model: str) -> Any:
    from transformers import AutoTokenizer

    from susceptometer.domains.hf_model import name_and_revision

    name, revision = name_and_revision(model)
    try:
        return AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            "the model's tokenizer cannot be read",
            where=name,
            value=str(error).split("\n", 1)[0],
            why="text cannot become tokens without it",
            do="put tokenizer.json beside the weights, or give token rows as an .npy file",
        ) from error
