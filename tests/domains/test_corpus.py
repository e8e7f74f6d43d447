"""Text as rows of tokens: reading, splitting, packing, repeated passages, default text, generated
probes.
"""

import json

import numpy as np
import pytest
import torch

from susceptometer.domains import corpus
from susceptometer.domains.corpus import RepeatMix, with_repeats
from susceptometer.domains.pico import tokenizer_of
from susceptometer.domains.tokenizer import BOS_ID
from susceptometer.domains.user_text import text_documents
from susceptometer.errors import DataError

zstandard = pytest.importorskip("zstandard")
TOKENIZER = tokenizer_of("pico-mini")
TEXTS = {
    "prose": [f"Chapter {i}. It was a dark and stormy night, and {i} dogs barked.\n" for i in range(60)],
    "code": [f"def f{i}(x):\n    return x + {i}\n" for i in range(60)],
}  # fmt: skip


def write_minipile(folder):
    for domain, texts in TEXTS.items():
        lines = "".join(json.dumps({"text": text, "id": "x"}) + "\n" for text in texts)
        packed = zstandard.ZstdCompressor().compress(lines.encode())
        (folder / f"{domain}.jsonl.zst").write_bytes(packed)


def test_the_minipile_is_read_by_path_or_environment(tmp_path, monkeypatch):
    write_minipile(tmp_path)
    assert corpus.minipile(tmp_path) == {"code": TEXTS["code"], "prose": TEXTS["prose"]}
    monkeypatch.setenv(corpus.ENVIRONMENT, str(tmp_path))
    assert corpus.minipile().keys() == TEXTS.keys()


def test_a_missing_minipile_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(corpus.ENVIRONMENT, raising=False)
    for path in (None, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="SUSCEPTOMETER_MINIPILE"):
            corpus.minipile(path)


SPOILED = {
    "cut short": lambda raw: raw[:-40],
    "not zstd": lambda _: b"plain text",
    "no text": lambda _: zstandard.compress(b"[1]\n"),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_file_is_named(tmp_path, spoil):
    write_minipile(tmp_path)
    path = tmp_path / "code.jsonl.zst"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=r"cannot be read.*code\.jsonl\.zst"):
        corpus.minipile(tmp_path)


def test_the_split_is_by_document_and_complete():
    kept, withheld = (corpus.split(TEXTS, validation=v) for v in (False, True))
    for domain, texts in TEXTS.items():
        assert len(withheld[domain]) == 3
        assert not set(kept[domain]) & set(withheld[domain])
        assert {*kept[domain], *withheld[domain]} == set(texts)


def test_rows_begin_with_bos_and_hold_the_text_in_order():
    packed = corpus.pack(TEXTS, TOKENIZER, 33)
    assert packed.rows.shape[1] == 33
    assert (packed.rows[:, 0] == BOS_ID).all()
    assert packed.domains == ("prose", "code")
    for number, domain in enumerate(packed.domains):
        body = packed.rows[packed.domain_of_row == number][:, 1:].ravel()
        text = TOKENIZER.decode(body[body != BOS_ID].tolist())
        whole = "".join(TEXTS[domain])
        assert whole.startswith(text)
        assert len(whole) - len(text) < 33 * 10
        assert (body == BOS_ID).sum() <= len(TEXTS[domain])


def test_too_little_text_is_named():
    with pytest.raises(DataError, match=r"too little text.*domain 'tiny'.*row length 100"):
        corpus.pack({"tiny": ["a few words"]}, TOKENIZER, 100)


def test_repeats_copy_a_passage_backwards_only(seed):
    rows = np.tile(np.arange(1000, 1060, dtype=np.int16), (400, 1))
    mix = RepeatMix(share=0.5, shortest=5, longest=20)
    found = with_repeats(rows, mix, np.random.default_rng(seed))
    changed = found != rows
    assert 0.4 < changed.any(1).mean() < 0.6
    assert not changed[:, :6].any()
    for row, moved in zip(found[changed.any(1)], changed[changed.any(1)], strict=True):
        places = np.flatnonzero(moved)
        assert 5 <= len(places) <= 20
        assert (np.diff(places) == 1).all()
        source = row[places] - 1000
        assert (np.diff(source) == 1).all()
        assert source[0] >= 1
        assert source[-1] < places[0]


def test_distances_of_repeats_cover_the_row(seed):
    rows = np.tile(np.arange(100, dtype=np.int16), (3000, 1))
    found = with_repeats(rows, RepeatMix(1.0, 8, 8), np.random.default_rng(seed))
    distance = (rows - found).max(1)
    assert distance.min() == 8
    assert distance.max() >= 85
    assert np.bincount(distance).max() < 0.1 * len(rows)


def test_no_share_and_more_copies(seed):
    rows = np.tile(np.arange(100, dtype=np.int16), (50, 1))
    generator = np.random.default_rng(seed)
    assert (with_repeats(rows, RepeatMix(0.0), generator) == rows).all()
    one, many = ((with_repeats(rows, RepeatMix(1.0, 8, 16, copies), generator) != rows).mean() for copies in (1, 4))
    assert 0.08 < one < 0.16
    assert many > 2 * one


def test_batches_are_a_function_of_seed_and_step_and_cover_the_rows():
    packed = corpus.pack(TEXTS, TOKENIZER, 17)
    source = corpus.row_source(packed, 7, seeds=(1, 2), mix=RepeatMix(0.5, 2, 6))
    again = corpus.row_source(packed, 7, seeds=(2,), mix=RepeatMix(0.5, 2, 6))
    assert source(9)["tokens"].shape == (2, 7, 17)
    assert source(9)["tokens"].dtype == torch.long
    assert torch.equal(source(9)["tokens"][1], again(9)["tokens"][0])
    assert not torch.equal(source(9)["tokens"][0], source(9)["tokens"][1])
    order = np.concatenate([corpus.shuffled(10, seed=1, start=start, count=4) for start in range(0, 40, 4)])
    assert (np.sort(order.reshape(4, 10)) == np.arange(10)).all()
    assert not (order[:10] == order[10:20]).all()


def test_default_text_is_there_in_several_domains():
    found = corpus.default_text()
    assert {"code", "docstrings"} <= found.keys()
    assert len(found) >= 3
    assert all(texts and all(isinstance(t, str) and t for t in texts) for texts in found.values())
    assert sum(len(t) for t in found["code"]) > 500_000
    assert found == corpus.default_text()
    assert any("def " in t for t in found["code"])
    corpus.pack(found | {"code": found["code"][:3]}, TOKENIZER, 65)


@pytest.mark.parametrize("name", ["arithmetic", "brackets", "repeats", "white space"])
def test_generated_probes_are_fixed_and_long_enough(name, seed):
    found = corpus.generated_probe(name, seed=seed, rows=3)
    assert found == corpus.generated_probe(name.replace(" ", "_"), seed=seed, rows=5)[:3]
    assert len(set(found)) == 3
    assert all(len(text) >= 900 for text in found)
    assert found != corpus.generated_probe(name, seed=seed + 1, rows=3)


def test_probes_have_the_structure_they_are_named_after(seed):
    def probe(name):
        return corpus.generated_probe(name, seed=seed, rows=1)[0]

    for line in probe("arithmetic").splitlines():
        left, right = line.split(" = ")
        assert eval(left) == int(right)
    open_kinds = []
    for character in probe("brackets"):
        if character in "([{<":
            open_kinds.append(character)
        else:
            assert "([{<".index(open_kinds.pop()) == ")]}>".index(character)
    assert open_kinds == []
    passage = probe("repeats").split("\n")[0]
    assert set(probe("repeats").split("\n")) == {passage, ""}
    assert sum(c in " \t\n" for c in probe("white space")) > 300


def test_an_unknown_probe_is_named():
    with pytest.raises(DataError, match=r"got music.*arithmetic, brackets, repeats, white space"):
        corpus.generated_probe("music", seed=0, rows=1)


def test_a_folder_of_tables_is_read_for_them_alone_one_domain_a_file(tmp_path):
    (tmp_path / "README.md").write_text("not a document")
    (tmp_path / "manifest.csv.zst").write_bytes(b"\xb5\x2f\xfd not text")
    for name in ("books", "code"):
        lines = [{"text": f"{name} {n}", "source": f"site/{n}", "subset": "part"} for n in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert {name: len(texts) for name, texts in text_documents(tmp_path).items()} == {"books": 3, "code": 3}
    assert set(text_documents(tmp_path / "code.jsonl")) == {"site/0", "site/1", "site/2"}
    (tmp_path / "more.jsonl").write_text(json.dumps({"text": "x", "domain": "letters"}))
    assert set(text_documents(tmp_path)) == {"books", "code", "letters"}
