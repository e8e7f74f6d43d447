"""Frozen prefixes: the same numbers from memory, from disk and made again; shared by components; nothing left behind."""

from dataclasses import replace

import pytest
import torch

from domains.hf_family import subject as family
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.domains.transformer import shapes
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.prefix import PrefixStore, Spilled
from toy_subject import CONFIG, HEADS, recipe, rows, same_numbers, tiny


def staged():
    """The tiny subject in stages, with more text than fits into a small budget."""
    one = tiny()
    parts = transformer_components(shapes(CONFIG))
    probes = {**one.probes, "long": rows("long", 200)}
    return replace(one, stages=TransformerStages(one.params, CONFIG), components=parts, probes=probes)


def reading(path, budget):
    options = ReadOptions(progress=False, block=2, prefix_bytes=budget)
    return read(staged(), HEADS, recipe=recipe(4), seed=1, into=path, options=options)


def test_a_run_that_spills_gives_the_same_numbers_and_leaves_nothing(tmp_path, monkeypatch):
    kept, mapped, plain = reading(tmp_path / "kept", 1 << 30), [], Spilled._read
    monkeypatch.setattr(Spilled, "_read", lambda self, place: mapped.append(place) or plain(self, place))
    spilled = reading(tmp_path / "spilled", 0)
    assert mapped
    assert same_numbers(kept, spilled)
    one, two = (sorted(item.name for item in (tmp_path / name).iterdir()) for name in ("kept", "spilled"))
    assert one == two


def test_a_full_scratch_folder_means_that_prefixes_are_made_again(tmp_path, monkeypatch):
    kept = reading(tmp_path / "kept", 1 << 30)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spilled, "_written", full)
    assert same_numbers(kept, reading(tmp_path / "again", 0))


def carry(batch):
    """A prefix of three kinds of tensors; counts how often it is made."""
    MADE.append(1)
    tokens = batch["tokens"]
    return {"tokens": tokens, "hidden": tokens[..., None] * torch.linspace(0, 1, 5), "half": tokens.bfloat16()}


MADE: list[int] = []


@pytest.fixture
def chunks():
    MADE.clear()
    return [rows("a", 3), rows("b", 3), rows("c", 1)]


@pytest.mark.parametrize("where", ["memory", "disk", "made again"])
def test_every_place_holds_the_same_tensors(chunks, tmp_path, where):
    budget, scratch = {"memory": (1 << 20, None), "disk": (0, tmp_path), "made again": (0, None)}[where]
    store, key = PrefixStore(budget, scratch), ("probes", "layer 3")
    for _ in range(2):
        found = list(store.carries(key, chunks, carry))
        for one, batch in zip(found, chunks, strict=True):
            assert all(torch.equal(one[name], value) for name, value in carry(batch).items())
            assert {name: value.dtype for name, value in one.items()} == {
                "tokens": torch.int64, "hidden": torch.float32, "half": torch.bfloat16,
            }  # fmt: skip
    assert store.where(key) == where
    assert not list(tmp_path.iterdir())


def test_a_prefix_is_made_once_and_the_oldest_place_is_dropped_first(chunks):
    store = PrefixStore(budget=2 * 7 * 9 * 30)
    for place in ("one", "two", "one", "three", "one"):
        store.carries(("probes", place), chunks, carry)
    assert len(MADE) == 3 * 3
    assert [store.where(("probes", place)) for place in ("one", "two", "three")] == ["memory", "absent", "memory"]


def test_what_a_place_needs_together_is_not_dropped_for_itself(chunks, tmp_path):
    store = PrefixStore(budget=7 * 9 * 30, scratch=tmp_path)
    store.carries(("data", "one"), chunks, carry)
    store.carries(("probes", "one"), chunks, carry)
    assert (store.where(("data", "one")), store.where(("probes", "one"))) == ("memory", "disk")


@pytest.mark.parametrize("name", ["gpt_neox", "llama"])
def test_heads_of_a_layer_share_their_prefix_and_equal_places_have_equal_prefixes(name):
    one, store = family(name), PrefixStore()
    found = {}
    for part in ("0:0", "1:0", "1:3", "1:mlp", "ln_final", "embed"):
        component = one.components[part]
        posterior = LocalPosterior(one, component, 1.0, 1.0, prefixes=store)
        (own,) = [one.stages.prefix(component, one.data)]
        (shared,) = posterior.carries("all rows", [one.data])
        assert set(own) == set(shared) and all(torch.equal(own[key], shared[key]) for key in own)
        found[part] = shared
    assert found["1:0"] is found["1:3"] and found["1:0"] is not found["0:0"]


def test_places_of_the_small_transformer_have_equal_prefixes():
    one = staged()
    seen = {}
    for name, component in one.components.items():
        prefix = one.stages.prefix(component, one.data)
        first = seen.setdefault(one.stages.place(component), prefix)
        assert set(first) == set(prefix), name
        assert all(torch.equal(first[key], prefix[key]) for key in prefix), name
    assert 1 < len(seen) < len(one.components)
