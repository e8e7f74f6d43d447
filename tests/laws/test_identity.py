"""A stored number is found again only when weights, data, loss, probes, masks, recipe and seed all agree."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from susceptometer.compute.identity import (
    component_hash,
    loss_hash,
    settings_hash,
    tensor_hash,
    tensors_hash,
)
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.transformer import loss
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.errors import RunError
from susceptometer.posterior.subject import Subject
from toy_subject import CONFIG, HEADS, head, recipe, rows, tiny

QUIET = ReadOptions(progress=False)


def asked(path, subject=None, *, how=None, seed=1, components=HEADS):
    return read(subject or tiny(), components, recipe=how or recipe(2, draws=2), seed=seed, into=path, options=QUIET)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity") / "run"
    asked(folder)
    return folder


def louder(params, batch):
    return 1.01 * loss(params, batch, CONFIG)


def quadratic(params, batch, scale):
    return scale * loss(params, batch, CONFIG)


def reduced():
    return replace(tiny(), stages=TransformerStages(tiny().params, CONFIG, "bfloat16"))


CHANGES = {
    "the matrix products": {"subject": reduced()},
    "the weights": {"subject": tiny(5)},
    "the data": {"subject": tiny(data="elsewhere")},
    "the loss": {"subject": replace(tiny(), loss=louder)},
    "the base probe": {"subject": replace(tiny(), probes={"base": rows("more"), "other": rows("other")})},
    "recipe.n_beta": {"how": replace(recipe(2, draws=2), n_beta=11.0)},
    "recipe.gamma": {"how": replace(recipe(2, draws=2), gamma=51.0)},
    "recipe.schedule": {"how": recipe(2, draws=3)},
    "recipe.batch_rows": {"how": replace(recipe(2, draws=2), batch_rows=None)},
    "seed": {"seed": 2},
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_experiment_in_the_same_folder_is_refused_by_name(path, what):
    with pytest.raises(RunError, match="holds another run") as caught:
        asked(path, **CHANGES[what])
    assert what in str(caught.value) and "choose another folder" in str(caught.value)
    others = set(CHANGES) - {what, "the base probe"}
    assert not [name for name in others if f"{name} (" in str(caught.value)]


def test_two_models_never_share_numbers(tmp_path):
    """devinterp 2.0.1 returned the first model's answer for every later model in one output path."""
    first, second = asked(tmp_path / "a"), asked(tmp_path / "b", tiny(5))
    name = first.components[0]
    assert not first.cell(name)["loss"].equals(second.cell(name)["loss"])
    with pytest.raises(RunError, match="the weights"):
        asked(tmp_path / "a", tiny(5))


def test_a_name_with_another_mask_is_refused(path):
    impostor = replace(head(0), name="blocks.0.attn.head.1")
    with pytest.raises(RunError, match=r"means something else.*component 'blocks\.0\.attn\.head\.1'"):
        asked(path, components={"blocks.0.attn.head.1": impostor})


def test_a_probe_name_with_another_text_is_refused(path):
    changed = replace(tiny(), probes={**tiny().probes, "other": rows("changed")})
    with pytest.raises(RunError, match="means something else.*probe 'other'"):
        asked(path, changed)


def test_a_loss_that_only_computes_differently_is_caught():
    def scaled(params, batch):
        return HIDDEN[0] * loss(params, batch, CONFIG)

    assert loss_hash(scaled) == loss_hash(scaled)


HIDDEN = [1.0]


def hidden(params, batch):
    return HIDDEN[0] * loss(params, batch, CONFIG)


def test_a_loss_that_changes_behind_its_code_is_caught_by_its_value(tmp_path, monkeypatch):
    subject = replace(tiny(), loss=hidden)
    asked(tmp_path / "run", subject)
    monkeypatch.setitem(globals(), "HIDDEN", [1.5])
    with pytest.raises(RunError, match=r"the loss at w\*"):
        asked(tmp_path / "run", subject)


def test_hashes_follow_content_and_nothing_else():
    value = torch.arange(6.0)
    assert tensor_hash(value) == tensor_hash(value.clone())
    assert len({tensor_hash(v) for v in (value, value.double(), value.reshape(2, 3), value + 1)}) == 4
    assert tensors_hash({"a": value, "b": value + 1}) == tensors_hash({"b": value + 1, "a": value})
    assert tensors_hash({"a": value}) != tensors_hash({"b": value})


def test_hashes_of_components_settings_and_losses():
    assert component_hash(head(0)) == component_hash(replace(head(0), name="x"))
    assert component_hash(head(0)) != component_hash(head(1))
    assert settings_hash(recipe(2)) == settings_hash(recipe(8)) != settings_hash(recipe(2, draws=7))
    one, two = partial(quadratic, scale=1.0), partial(quadratic, scale=2.0)
    assert len({loss_hash(one), loss_hash(two), loss_hash(louder)}) == 3
    assert loss_hash(one) == loss_hash(partial(quadratic, scale=1.0))


def test_the_subject_name_is_not_part_of_the_identity(path):
    renamed: Subject = replace(tiny(), name="another name")
    assert list(asked(path, renamed).cells) == ["blocks.0.attn.head.0", "blocks.0.attn.head.1"]
