"""The bundled tokenizers: every text comes back, and white space stays countable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from susceptometer.domains.pico import MAKINGS, assets, tokenizer_of
from susceptometer.domains.tokenizer import BOS, BOS_ID, load_tokenizer, trained_tokenizer
from susceptometer.errors import DataError

NAMES = list(MAKINGS)
TOKENIZERS = {name: tokenizer_of(name) for name in NAMES}


def pieces(name, text):
    """The text of each token."""
    tokenizer = TOKENIZERS[name]
    return [tokenizer.decode([token]) for token in tokenizer.encode(text).ids]


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=60))
def test_every_text_comes_back(name, text):
    tokenizer = TOKENIZERS[name]
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("name", NAMES)
@given(runs=st.lists(st.tuples(st.sampled_from(" \n\t"), st.integers(1, 40)), max_size=6))
def test_each_white_space_character_of_a_run_is_one_token(name, runs):
    text = "".join(character * count for character, count in runs)
    assert pieces(name, text) == list(text)
    assert len({*TOKENIZERS[name].encode(text).ids}) == len(set(text))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 2, 3, 8, 17])
def test_only_the_last_space_joins_a_word(name, count):
    found = pieces(name, "a" + " " * count + "the")
    assert found == ["a", *[" "] * (count - 1), " the"]
    assert pieces(name, "a" + "\n" * count + "b") == ["a", *["\n"] * count, "b"]
    assert pieces(name, "a" + "\t" * count + "b") == ["a", *["\t"] * count, "b"]


@pytest.mark.parametrize("name", NAMES)
def test_no_token_holds_two_white_space_characters(name):
    words = [TOKENIZERS[name].decode([i]) for i in range(TOKENIZERS[name].get_vocab_size())]
    assert [w for w in words if sum(c.isspace() for c in w) > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_size_and_beginning_of_text(name):
    tokenizer = TOKENIZERS[name]
    assert tokenizer.get_vocab_size() == MAKINGS[name].config.vocabulary
    assert tokenizer.token_to_id(BOS) == BOS_ID
    assert BOS_ID not in tokenizer.encode("The cat sat on the mat.\n").ids


def test_training_is_a_function_of_the_texts(tmp_path):
    texts = ["the cat and the dog", "the  \n\n mat"] * 20
    first, again = (trained_tokenizer(texts, 270) for _ in range(2))
    assert first.to_str() == again.to_str()
    first.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path / "tokenizer.json").encode("the cat").ids == first.encode("the cat").ids
    assert len(first.encode(" the").ids) == 1


def test_bad_tokenizers_are_named(tmp_path):
    with pytest.raises(DataError, match=r"too small.*got 100.*257"):
        trained_tokenizer(["text"], 100)
    (tmp_path / "broken.json").write_text("{")
    for path in (tmp_path / "broken.json", tmp_path / "missing.json"):
        with pytest.raises(DataError, match="cannot be read"):
            load_tokenizer(path)
    assert (assets("pico") / "tokenizer.json").exists()
