"""The committed weights do what their cards say: measured again, on generated tokens only."""

import re

import pytest
import torch

from susceptometer.domains import pico
from susceptometer.domains.making import Making, grid, make, repeat_scores
from susceptometer.domains.scores import induction_heads
from susceptometer.domains.transformer import check_tokens, loss, shapes
from susceptometer.errors import DataError, RunError, SubjectError
from susceptometer.train.loop import unstack

NAMES = ["pico", "pico-mini"]
BUDGET = 28_000_000
INDUCTION_HEADS = {"pico": 2, "pico-mini": 1}


def card_rows(name):
    """Rows of the table of scores in the model card, by (seed, step)."""
    text = (pico.assets(name) / "MODEL_CARD.md").read_text(encoding="utf-8")
    cells = [[c.strip() for c in line.strip("| \n").split("|")] for line in text.splitlines()]
    return {(int(c[0]), int(c[1])): c for c in cells if len(c) == 9 and c[0].isdigit()}


def numbers(cell):
    return [float(x) for x in re.findall(r"-?\d+\.\d+", cell)]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_the_scores(name):
    stated = card_rows(name)
    rows = pico.scores_table(name)
    assert stated.keys() == {(row["seed"], row["step"]) for row in rows}
    for row in rows:
        shown = pico.markdown([row]).splitlines()[-1].strip("| ").split(" | ")
        for mine, theirs in zip(shown, stated[row["seed"], row["step"]], strict=True):
            assert re.findall(r"\d+:\d+", mine) == re.findall(r"\d+:\d+", theirs)
            assert numbers(mine) == pytest.approx(numbers(theirs), rel=0.02, abs=0.002)


@pytest.mark.parametrize("name", NAMES)
def test_induction_heads_are_there_at_the_end_of_every_seed_and_not_at_the_start(name):
    config = pico.making_of(name).config
    for seed in pico.available(name):
        prefix, previous, repeat = repeat_scores(pico.load_weights(name, seed=seed), config)
        strong = [head for head in induction_heads(prefix, ratio=4.0) if prefix[head] > 0.2]
        assert len(strong) >= INDUCTION_HEADS[name], seed
        assert repeat[1] < repeat[0] - 2, seed
        assert previous.max() > 0.2, seed
    first = pico.available(name)[0][0]
    prefix, _, repeat = repeat_scores(pico.load_weights(name, seed=0, step=first), config)
    assert induction_heads(prefix, ratio=4.0) == []
    assert (repeat[1] - repeat[0]).abs() < 0.1


def test_checkpoints_are_as_many_as_promised():
    stored = pico.available("pico")
    assert len(stored[0]) == 14
    assert [len(stored[seed]) for seed in (1, 2, 3)] == [3, 3, 3]
    assert list(stored) == [0, 1, 2, 3]
    assert len(pico.available("pico-mini")) >= 2


def test_all_weights_fit_their_budget():
    files = [path for name in NAMES for path in pico.assets(name).glob("*.safetensors")]
    assert sum(path.stat().st_size for path in files) <= BUDGET


@pytest.mark.parametrize("name", NAMES)
def test_weights_load_as_float32_in_order(name):
    params = pico.load_weights(name)
    config = pico.making_of(name).config
    assert list(params) == list(shapes(config))
    assert {n: tuple(w.shape) for n, w in params.items()} == shapes(config)
    assert all(w.dtype == torch.float32 for w in params.values())
    first, last = pico.available(name)[0][0], pico.available(name)[0][-1]
    by_step = pico.load_weights(name, seed=0, step=last)
    assert all(torch.equal(params[n], by_step[n]) for n in params)
    early = pico.load_weights(name, step=first)
    assert not torch.equal(params["unembed.W_U"], early["unembed.W_U"])


@pytest.mark.parametrize("name", NAMES)
def test_text_is_predicted_far_better_than_by_chance(name):
    config = pico.making_of(name).config
    text = "The Python interpreter reads the source code of a module when it is first imported.\n"
    ids = pico.tokenizer_of(name).encode(text * 3).ids[: config.context]
    tokens = torch.tensor([[0, *ids]])
    check_tokens(tokens, config)
    losses = loss(pico.load_weights(name), {"tokens": tokens}, config)[0]
    chance = torch.tensor(float(config.vocabulary)).log()
    assert losses.mean() < 0.8 * chance
    # the sentence comes three times: the third is read off the first two
    assert losses[-15:].mean() < 0.5 * losses[:30].mean()


def test_what_is_not_stored_is_named():
    with pytest.raises(SubjectError, match=r"got nano.*pico, pico-mini"):
        pico.load_weights("nano")
    with pytest.raises(DataError, match=r"seed=9, step=-1"):
        pico.load_weights("pico", seed=9)
    with pytest.raises(DataError, match=r"seed=0, step=17.*stored are"):
        pico.load_weights("pico", step=17)
    with pytest.raises(DataError, match="step=-99"):
        pico.load_weights("pico", step=-99)


def test_a_model_is_made_resumed_and_exported(tmp_path, monkeypatch):
    texts = {"prose": ["the cat sat on the mat. " * 80] * 25, "code": ["x = x + 1\n" * 200] * 25}
    monkeypatch.setattr("susceptometer.domains.making.minipile", lambda _: texts)
    small = pico.making_of("pico-mini")
    training = small.training.__class__(steps=6, learning_rate=0.01, save_every=2)
    making = Making(small.config, training, batch_rows=4, mix=small.mix)
    tokenizer = pico.tokenizer_of("pico-mini")
    both = unstack(make(making, tokenizer, (1, 2), data=None, into=tmp_path / "run"))
    alone = unstack(make(making, tokenizer, (2,), data=None, into=tmp_path / "alone"))[0]
    for name, w in alone.items():
        torch.testing.assert_close(both[1][name], w, rtol=0.05, atol=0.005)
    target = tmp_path / pico.file_name(2, 6)
    pico.export(tmp_path / "run", (1, 2), 6, {2: target})
    stored = pico.load_full(target)
    torch.testing.assert_close(stored["embed.W_E"], both[1]["embed.W_E"], rtol=1e-3, atol=1e-6)
    with pytest.raises(RunError, match="cannot be read"):
        pico.export(tmp_path / "run", (1, 2), 5, {2: target})


def test_kept_steps_are_dense_early_and_regular_late():
    steps = grid(30_000)
    assert steps[:5] == (0, 16, 32, 64, 128)
    assert steps[-1] == 29_000
    assert len(set(steps)) == len(steps) < 80


@pytest.mark.parametrize(("name", "length"), [("pico", 128), ("pico-mini", 97), ("some/model@step3", 128)])
def test_the_usual_rows_fit_every_bundled_model(name, length):
    from susceptometer.domains.language import usual_plan

    assert usual_plan(name).length == length
