"""Cluster cards and the exported table say what is in a cluster, on a small text whose clusters are known."""

import numpy as np
import pytest
import xarray as xr
from pyarrow import parquet

from susceptometer.errors import DataError
from susceptometer.structure.cluster import Clusters, ClusterSettings
from susceptometer.structure.vectors import as_estimate
from susceptometer.structure.export import principal_plane, token_table, write_tokens
from susceptometer.structure.labels import Makeup, short_label
from susceptometer.structure.response import response_of

WORDS = [" of", " the", " cat", "(", ")", "7", "\n", " dog"]
HEADS = ["embed", "blocks.0.attn.head.0", "blocks.0.attn.head.1", "blocks.1.attn.head.0", "unembed"]


@pytest.fixture(scope="module")
def known():
    """Tokens in two probes; cluster 0: ' the' after ' of', cluster 1: digits in probe sums."""
    draw = np.random.default_rng(0)
    rows, width = 40, 30
    ids = draw.integers(1, 8, (rows, width))
    ids[:, 10], ids[:, 11] = 0, 1  # " of the"
    probe = np.repeat(["prose", "sums"], rows * width // 2)
    flat = ids.ravel()
    after_of = np.concatenate([[False], flat[:-1] == 0]) & (flat == 1)
    digit = (flat == 5) & (probe == "sums")
    labels = np.full(rows * width, -1, np.int32)
    labels[after_of], labels[digit] = 0, 1
    chi = np.zeros((6, len(HEADS), rows * width))
    chi[:, 1, after_of] = -3.0
    chi[:, 3, digit] = 2.0
    chi += draw.normal(size=chi.shape)
    coords = {
        "probe": ("token", probe), "row": ("token", np.repeat(np.arange(rows) % 20, width)),
        "position": ("token", np.tile(np.arange(width), rows)), "token_id": ("token", flat),
    }  # fmt: skip
    return labels, response_of(chi, HEADS, coords, "within-run")


def clusters_of(labels, chi):
    stable = np.array([0.9, 0.4])
    return Clusters(labels, np.array([0.1, 0.2]), stable, stable, 0.01, 0.25, chi, ClusterSettings(k=5))


def test_cards(known):
    labels, chi = known
    first, second = clusters_of(labels, chi).cards(WORDS, contexts=6)
    assert first.label == "' the' after ' of'" and second.label == "'7' in sums"
    assert first.size == (labels == 0).sum() and first.unique == 1 and first.tokens == ((" the", first.size),)
    assert dict(second.domains) == {"sums": second.size} and second.patterns["numeric"] == 1.0
    assert len(first.contexts) == 6
    assert all(c.before.endswith(" of") and c.token == " the" for c in first.contexts)
    assert "⟦ the⟧" in str(first) and "conductance 0.100" in str(first) and "⏎" not in first.label
    assert (first.conductance, first.halves, second.seeds) == (0.1, 0.9, 0.4)


def test_profiles_have_the_value_and_the_error_between_groups(known):
    labels, chi = known
    first = clusters_of(labels, chi).cards(WORDS)[0]
    values = chi.matrix()
    spread = values.mean(0).std(0)
    exact = (values[:, labels == 0].mean(1) - values.mean(1)) / spread
    assert np.allclose(first.profile.value, exact.mean(0))
    assert np.allclose(first.profile.error, exact.std(0, ddof=1) / np.sqrt(6))
    z = np.abs(first.profile.value / first.profile.error).values
    assert z[1] > 10 and (np.delete(z, 1) < 10).all()
    assert {k: [n for n, *_ in row] for k, row in first.layers().items()} == {
        "embed": ["embed"], "blocks.0": HEADS[1:3], "blocks.1": [HEADS[3]], "unembed": ["unembed"]
    }  # fmt: skip


def test_an_estimate_gives_an_upper_bound_of_the_error(known):
    labels, chi = known
    bare = clusters_of(labels, chi.estimate()).cards(WORDS)[0]
    sure = clusters_of(labels, chi).cards(WORDS)[0]
    assert np.allclose(bare.profile.value, sure.profile.value)
    assert (bare.profile.error > sure.profile.error).all()


def test_contexts_stay_in_their_row(known):
    _, chi = known
    place = np.tile(np.arange(30), 40)
    first = np.where(place < 2, place, -1).astype(np.int32)
    cards = clusters_of(first, chi).cards(WORDS)
    assert all(context.before == "" for context in cards[0].contexts)
    assert all(context.before in WORDS for context in cards[1].contexts)


def test_text_may_come_with_the_tokens_or_is_asked_for(known):
    labels, chi = known
    with pytest.raises(DataError, match="no text"):
        clusters_of(labels, chi).cards()
    words = xr.DataArray(np.array(WORDS)[chi.replicates["token_id"].values], dims="token")
    carried = type(chi)(chi.form, chi.replicates.assign_coords(text=words))
    assert clusters_of(labels, carried).cards()[0].label == "' the' after ' of'"


def test_labels_by_rule():
    nothing = {"a": 1.0}
    few = Makeup({"1": 0.5, "2": 0.35}, {}, {"numeric": 1.0}, nothing, {"numeric": 9.0}, nothing)
    role = Makeup(
        {"1": 0.3, "2": 0.2},
        {},
        {"numeric": 0.9, "other": 1.0},
        nothing,
        {"numeric": 9.0, "other": 9.0},
        nothing,
    )
    weak = Makeup({"\n": 0.3, "2": 0.2, "x": 0.1}, {}, {"numeric": 0.9}, nothing, {"numeric": 1.1}, nothing)
    assert [short_label(m) for m in (few, role, weak)] == [
        "'1', '2'",
        "numeric",
        "mixed: '\\n', '2', 'x'",
    ]


def test_the_exported_table(known, tmp_path):
    labels, chi = known
    found = clusters_of(labels, chi)
    table = token_table(found, strings=WORDS, labels=["of the", "digits"], vectors=True)
    path = write_tokens(table, tmp_path / "deep" / "tokens.parquet")
    back = parquet.read_table(path).to_pandas()
    assert list(back.columns) == [
        "text",
        "token",
        "probe",
        "row",
        "position",
        "cluster",
        "label",
        "x",
        "y",
        "vector",
    ]
    assert (back["label"].astype(str) == np.array(["main body", "of the", "digits"])[labels + 1]).all()
    place = int(np.flatnonzero(labels == 0)[0])
    assert "⟦ the⟧" in back["text"][place] and back["cluster"][place] == 0
    assert len(back["vector"][0]) == len(HEADS) and np.isfinite(back[["x", "y"]].to_numpy()).all()
    with pytest.raises(DataError, match="parquet"):
        write_tokens(table, tmp_path / "tokens.csv")
    with pytest.raises(DataError, match="does not fit"):
        token_table(found, strings=WORDS, places=np.zeros((3, 2)))


def test_the_principal_plane(seed):
    points = np.random.default_rng(seed).normal(size=(500, 4)) * [1, 5, 3, 0.1]
    plane = principal_plane(points)
    assert np.abs(np.corrcoef(plane[:, 0], points[:, 1])[0, 1]) > 0.98
    assert plane.std(0)[0] > plane.std(0)[1] > 2


def test_vectors_without_chains_can_be_clustered_and_shown(known):
    labels, chi = known
    value = chi.estimate().value
    bare = as_estimate(value.values.T.astype(np.float32), value.drop_vars("component").coords, names=HEADS)
    assert clusters_of(labels, bare).cards(WORDS)[1].label == "'7' in sums"
