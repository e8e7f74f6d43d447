"""The explorer's numbers before the browser: rounding, readings, maps, hostile text, Parquet."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from sklearn.decomposition import PCA

from explorer_example import HOSTILE, example, facts, many
from susceptometer.errors import DataError, RunError
from susceptometer.estimate.estimate import Estimate
from susceptometer.estimate.susceptibility import susceptibility
from susceptometer.sampling.reading import read_here
from susceptometer.structure.cards import cards_of
from susceptometer.structure.embed import MapSetting
from susceptometer.structure.response import response
from susceptometer.view import explorer
from susceptometer.view.explorer import explorer_html, payload, thinned
from susceptometer.view.explorer_data import ExplorerData
from susceptometer.view.explorer_maps import principal_maps, umap_map
from susceptometer.view.explorer_pack import (
    coded_error,
    coded_places,
    coded_psi,
    coded_replicates,
    decoded_error,
    decoded_psi,
    decoded_replicates,
    rounding,
)
from susceptometer.view.explorer_reading import explorer_data
from susceptometer.view.explorer_table import token_pieces, write_tokens_parquet
from toy_subject import recipe, tiny

DATA = example(facts())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(-30, 30))
def test_rounding_keeps_to_what_is_stated(seed, power):
    rng = np.random.default_rng(seed)
    psi = rng.standard_t(2, (3, 40)) * 10.0**power
    psi[1, rng.random(40) < 0.2] = np.nan
    coded = coded_psi(psi)
    found = decoded_psi(coded)
    assert (np.isnan(found) == np.isnan(psi)).all()
    bound = (np.abs(coded.codes.astype(float)) + 0.2501) * coded.scale[:, None]
    assert (np.abs(found - psi) <= bound * (1 + 1e-9))[~np.isnan(psi)].all()
    np.testing.assert_allclose(coded.scale, np.nanmax(np.abs(psi), 1) / 32767**2)
    error = 10.0**power * 10 ** rng.uniform(-1, 1, (3, 40))
    error[0, 0], error[2] = np.nan, 0.0
    back = decoded_error(*coded_error(error))
    assert np.isnan(back[0, 0]) and np.isnan(back[2]).all()
    known = np.isfinite(error) & (error > 0)
    np.testing.assert_allclose(back[known], error[known], rtol=0.0092)


def test_the_page_says_the_worst_rounding():
    frame = DATA.frames[-1]
    middle, worst = rounding(frame)
    share = np.abs(decoded_psi(coded_psi(frame.psi)) - frame.psi) / frame.error
    assert worst == share.max() and middle == np.median(share) and 0 < middle < worst < 0.01
    assert payload(DATA)["rounding"]["worst"] >= worst
    worse = replace(frame, error=frame.error / 1000)
    assert rounding(worse)[1] == pytest.approx(1000 * worst)


def test_means_from_coded_replicates_are_those_of_the_groups():
    rng = np.random.default_rng(0)
    deviations = rng.standard_t(3, (6, 4, 3000)) * np.array([1e-6, 1, 1e3, 1e-5])[:, None]
    found = decoded_replicates(coded_replicates(deviations))
    for members in (slice(0, 30), slice(100, 1100)):
        exact = deviations[:, :, members].mean(2).std(0, ddof=1)
        np.testing.assert_allclose(found[:, :, members].mean(2).std(0, ddof=1), exact, rtol=0.03)


def test_places_share_one_square_over_frames():
    places = np.random.default_rng(0).normal(size=(3, 50, 2)) * [5, 1] + [100, -3]
    codes, (left, bottom, width) = coded_places(places)
    back = codes / 65535 * width + [left, bottom]
    assert np.abs(back - places).max() <= 0.51 * width / 65535
    assert width == pytest.approx(np.ptp(places[..., 0]))


def test_psi_and_errors_are_those_of_the_estimate():
    subject = tiny()
    reading = read_here(subject, subject.components, recipe(), seed=0)
    strings = [f" {k}" for k in range(11)]
    data = explorer_data({"now": reading}, form="within-run", strings=strings)
    frame, whole = data.frames[0], response(reading).estimate()
    np.testing.assert_allclose(frame.psi, whole.value - whole.value.mean("token"), rtol=1e-12)
    np.testing.assert_allclose(frame.error, whole.error, rtol=1e-12)
    np.testing.assert_allclose(frame.error, susceptibility(reading).error, rtol=1e-6)
    np.testing.assert_allclose(frame.replicates.mean(0), 0, atol=1e-12 * np.abs(frame.psi).max())
    assert data.tokens.words[:3] == tuple(strings[k] for k in reading.tokens["token_id"].values[:3])
    np.testing.assert_array_equal(frame.loss, reading.cell(reading.components[0])["center_loss"])
    assert "negative" in data.lead.lower() and data.facts["chain groups"] == "4"


def test_tokens_without_text_are_shown_by_their_numbers():
    reading = read_here(tiny(), tiny().components, recipe(), seed=0)
    words = explorer_data({"now": reading}, form="within-run").tokens.words
    assert words == tuple(f"#{k}" for k in reading.tokens["token_id"].values)


def test_only_the_same_tokens_make_a_slider():
    one = read_here(tiny(), tiny().components, recipe(), seed=0)
    other = replace(one, tokens=one.tokens.assign_coords(token_id=one.tokens["token_id"] + 1))
    strings = [str(k) for k in range(12)]
    with pytest.raises(RunError, match="two readings are of different tokens in early and late"):
        explorer_data({"early": one, "late": other}, form="within-run", strings=strings)
    found = explorer_data({"early": one, "late": one}, form="within-run", strings=strings)
    assert [frame.label for frame in found.frames] == ["early", "late"]


def test_maps_are_principal_axes_of_the_last_frame_and_do_not_turn():
    first, last = DATA.frames[0], DATA.frames[-1]
    z = (last.psi / last.psi.std(1, keepdims=True)).T
    scores = PCA(4).fit_transform(z)
    maps = principal_maps(DATA.frames)
    assert list(maps) == ["pairs 1 and 2", "pairs 3 and 4"]
    found = np.concatenate([maps[name][-1] for name in maps], axis=1)
    np.testing.assert_allclose(np.abs(found), np.abs(scores), atol=1e-8)
    twice = principal_maps([last, replace(last, psi=3 * last.psi)])
    np.testing.assert_allclose(twice["pairs 1 and 2"][0], twice["pairs 1 and 2"][1], atol=1e-9)
    flipped = principal_maps([replace(first, psi=-last.psi), last])
    np.testing.assert_allclose(flipped["pairs 1 and 2"][0], -flipped["pairs 1 and 2"][1], atol=1e-9)


@pytest.mark.slow
def test_umap_follows_the_tokens_over_frames():
    last = DATA.frames[-1]
    shaken = last.psi * np.random.default_rng(1).normal(1, 0.1, last.psi.shape)
    found = umap_map([replace(last, psi=shaken), last], MapSetting(neighbours=15), seed=0)["UMAP, 15 neighbours"]
    assert found.shape == (2, 720, 2)
    moved = np.linalg.norm(found[0] - found[1], axis=1)
    mixed = np.linalg.norm(found[0] - found[1][np.random.default_rng(0).permutation(720)], axis=1)
    assert np.median(moved) < 0.5 * np.median(mixed)


def test_the_profile_bound_covers_the_error_between_groups():
    frame, members = DATA.frames[-1], np.arange(40)
    groups = frame.replicates[:, :, members].mean(2)
    assert (groups.std(0, ddof=1) / np.sqrt(len(groups)) <= frame.error[:, members].mean(1)).all()


def test_cards_of_the_package_and_numbers_of_the_page_agree():
    """`cards.Profiles`, whose numbers cards print, equals the formula that the browser test checks the page against."""
    from susceptometer.structure.response import response_of

    frame = DATA.frames[-1]
    tokens = {name: ("token", getattr(DATA.tokens, name)) for name in ("probe", "row", "position")}
    words = {"text": ("token", np.array([str(k) for k in range(len(DATA.tokens))], dtype=object))}
    chi = response_of(frame.replicates + frame.psi, DATA.components, {**tokens, **words}, "within-run")
    members = np.flatnonzero(DATA.clusters.labels == 1)
    card = cards_of([members], [{"conductance": 0.1, "halves": 0.5, "seeds": 0.5}], chi)[0]
    assert isinstance(card.profile, Estimate)
    np.testing.assert_allclose(card.profile.value, frame.psi[:, members].mean(1) / frame.psi.std(1))
    error = frame.replicates[:, :, members].mean(2).std(0, ddof=1) / np.sqrt(5) / frame.psi.std(1)
    np.testing.assert_allclose(card.profile.error, error)


def test_hostile_text_stays_inside_its_string(tmp_path):
    page = explorer_html(DATA)
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert "\\u003c/script>" in page and "\u2028" not in page
    explorer.write_explorer(DATA, tmp_path / "new" / "page.html")
    stored = json.loads(page.split('id="payload">')[1].split("</script>")[0])
    assert HOSTILE[0] in stored["tokens"]["words"] and "\ufffd" in stored["tokens"]["words"]
    assert "{{payload}}" in stored["tokens"]["words"]


def test_a_large_page_carries_whole_rows(monkeypatch):
    monkeypatch.setattr(explorer, "MOST_TOKENS", 200)
    few = thinned(DATA)
    assert len(few.tokens) == 180 and few.clusters.labels.shape == (180,)
    assert (np.unique(few.tokens.position, return_counts=True)[1] == 3).all()
    assert set(few.tokens.probe) == {"code", "prose"}
    assert "180 of 720 tokens" in few.notes[-1]
    np.testing.assert_array_equal(few.frames[0].psi[:, :60], DATA.frames[0].psi[:, :60])
    monkeypatch.setattr(explorer, "MOST_VALUES", 100 * 8 * 3)
    assert len(thinned(DATA).tokens) == 60


def test_shapes_are_checked():
    with pytest.raises(DataError, match="explorer has the wrong shape in step 0 loss"):
        replace(DATA, frames=(replace(DATA.frames[0], loss=np.zeros(3)), *DATA.frames[1:]))


def test_parquet_holds_every_token(tmp_path):
    plain = example(facts(hostile=False))
    path = write_tokens_parquet(plain, tmp_path / "new" / "tokens.parquet", piece=100)
    table = parquet.read_table(path)
    assert parquet.ParquetFile(path).num_row_groups == 8 and len(table) == len(plain.tokens)
    assert table["token"].to_pylist() == list(plain.tokens.words)
    np.testing.assert_allclose(table["psi blocks.1.attn.head.2"], plain.frames[-1].psi[6], rtol=1e-6)
    np.testing.assert_allclose(np.stack([table["x"], table["y"]], 1), plain.maps["pairs 1 and 2"][-1], rtol=1e-6)
    k = 130
    before, after = "".join(plain.tokens.words[120:130]), "".join(plain.tokens.words[131:137])
    wanted = f"{before}⟦{plain.tokens.words[k]}⟧{after}".replace("\n", "⏎")
    assert table["text"][k].as_py() == wanted
    assert set(table["cluster"].to_pylist()) == {"main body", "0: spacing", "1: fourth <b>place</b>"}
    with pytest.raises(DataError, match="tokens cannot be written"):
        write_tokens_parquet(plain, tmp_path / "tokens.csv")


def peak_of_writing(data: ExplorerData, path) -> int:
    """Largest number of bytes that writing holds beside the data."""
    tracemalloc.start()
    write_tokens_parquet(data, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.slow
def test_a_million_rows_are_written_in_pieces(tmp_path):
    small, large = (peak_of_writing(many(count), tmp_path / f"{count}.parquet") for count in (200_000, 1_000_000))
    print(f"peak beside the data: {small / 2**20:.0f} MiB for 200,000 rows, {large / 2**20:.0f} MiB for 1,000,000")
    assert parquet.ParquetFile(tmp_path / "1000000.parquet").metadata.num_rows == 1_000_000
    assert large < 1.3 * small + 2**23 and large < 120 * 2**20


def test_pieces_are_cut_without_gaps():
    pieces = list(token_pieces(many(1000), 300))
    assert [len(piece) for piece in pieces] == [300, 300, 300, 100]
    assert pa.concat_tables(pieces)["row"].to_pylist() == [k // 128 for k in range(1000)]
