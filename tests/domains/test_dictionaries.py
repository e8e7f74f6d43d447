"""The committed dictionaries of pico: small, readable, and they explain streams of text they were not trained on."""

import numpy as np
import pytest
import torch

from susceptometer.domains.activations import auxiliary_inputs, probe_tokens, residual_streams, target_activations
from susceptometer.domains.checkpoints import with_text
from susceptometer.domains.dictionaries import (
    STREAMS,
    bundled_dictionary,
    dictionary_folder,
    stream_of_rows,
    token_features,
)
from susceptometer.domains.language import LanguageSource
from susceptometer.domains.pico import tokenizer_of
from susceptometer.domains.transformer import logits, streams
from susceptometer.errors import DataError

TEXT = (
    "When the rain had stopped, the two of them walked to the mill and counted the sacks that were left. "
    "def first(items):\n    return items[0] if items else None\n"
    "The committee of the council shall report to the members, and the members shall vote on it. "
) * 8


@pytest.fixture(scope="module")
def subject():
    ids = tokenizer_of("pico").encode(TEXT, add_special_tokens=False).ids
    rows = np.array(ids[: len(ids) // 64 * 64]).reshape(-1, 64)
    rows = np.concatenate([np.zeros((len(rows), 1), dtype=int), rows], axis=1)
    return with_text(LanguageSource("pico"), {"data": rows, "probe base": rows[:3], "probe more": rows[3:5]})


@pytest.mark.parametrize("stream", STREAMS)
def test_a_dictionary_explains_unseen_text(subject, stream):
    sae = bundled_dictionary(stream)
    (x,) = stream_of_rows(subject, subject.data["tokens"].numpy().astype(np.int16), [stream])
    assert sae.explained(x) > 0.6
    assert ((sae.encode(x) > 0).sum(1) <= sae.k).all()
    assert sae.meta["stream"] == stream and "MINIPILE" in sae.meta["command"]


def test_dictionaries_are_small_and_unknown_ones_are_refused():
    files = [path for stream in STREAMS for path in dictionary_folder("pico", stream).iterdir()]
    assert sum(path.stat().st_size for path in files) < 4e6
    with pytest.raises(DataError, match="no bundled dictionary"):
        bundled_dictionary(7)


def test_streams_are_lined_up_with_targets(subject):
    rows = probe_tokens(subject)
    config = subject.loss.keywords["config"]
    found = residual_streams(subject, rows[:, :-1])
    assert len(found) == 3 and torch.equal(found[1], streams(subject.params, rows[:, :-1], config)[1])
    context, target = (target_activations(found[1], place) for place in ("context", "target"))
    assert torch.equal(context[1:64], target[:63]) and target[63].isnan().all()
    features = token_features(bundled_dictionary(1), target)
    assert features.shape == (rows[:, 1:].numel(), 1024) and features[[63]].nnz == 0 and features[[62]].nnz > 0


def test_auxiliary_inputs_hold_loss_and_entropy(subject):
    rows = probe_tokens(subject)
    found = auxiliary_inputs(subject, rows)
    losses = subject.loss(subject.params, {"tokens": rows}).reshape(-1)
    assert found.shape == (len(losses), 3 * 128 + 128 + 2)
    assert torch.allclose(found[:, -2], losses, atol=1e-4)
    chances = logits(subject.params, rows[:, :-1], subject.loss.keywords["config"]).softmax(-1)
    assert torch.allclose(found[:, -1], torch.special.entr(chances).sum(-1).reshape(-1), atol=1e-3)
