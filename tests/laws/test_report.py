"""From a reading to the page: nothing invented, nothing lost, sick chains named."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from susceptometer.compute.opened import reading_at
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.errors import ChainError, DataError
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import coupled_column, susceptibility
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD
from susceptometer.structure.pattern_table import pattern_psi
from susceptometer.structure.patterns import PATTERNS
from susceptometer.view import report as door
from susceptometer.view.report import page_data, report, token_text

STRINGS = (" the", "cat", "\n", "(", ")", " 42", "s", ".")


def bigram_loss(params, batch):
    """A model without attention: the next token from the last one alone."""
    tokens = batch["tokens"]
    scores = params["embed"][tokens[:, :-1]] @ params["unembed"]
    return torch.nn.functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").reshape(
        len(tokens), -1
    )


def subject() -> Subject:
    """A language subject of eight tokens, with two probes."""
    generator = torch.Generator().manual_seed(3)
    params = {
        "embed": torch.randn(8, 4, generator=generator),
        "unembed": torch.randn(4, 8, generator=generator),
    }
    rows = torch.randint(0, 8, (12, 9), generator=generator)
    probes = {"base": {"tokens": rows[:8]}, "new": {"tokens": rows[8:]}}
    parts = {name: whole_component(name, params, (name,)) for name in params}
    return Subject("bigram", params, bigram_loss, {"tokens": rows}, probes, parts)


def recipe(h: float = 0.1) -> Recipe:
    """Short chains."""
    return Recipe(
        sampler=SGLD(step_size=3e-3),
        schedule=Schedule(groups=5, burn_in=10, draws=16),
        n_beta=20.0,
        gamma=200.0,
        coupling=Coupling(h=h),
    )


@pytest.fixture(scope="module")
def reading():
    """Both parts of the model, read; their coupled chains contract."""
    whole = subject()
    found = read_here(whole, whole.components, recipe(), seed=0)
    assert set(susceptibility(found).data["estimator"].values) == {"coupled"}
    return found


def test_the_page_shows_the_estimates(reading):
    data = page_data(reading, strings=STRINGS)
    np.testing.assert_array_equal(data.llc, llc(reading).value.values)
    np.testing.assert_array_equal(data.chi, susceptibility(reading).value.values)
    np.testing.assert_array_equal(data.chi_error, susceptibility(reading).error.values)
    assert data.components == ("embed", "unembed")
    assert set(data.tokens.probe) == {"base", "new"}
    assert data.tokens.text[0] == STRINGS[int(reading.tokens["token_id"][0])]
    assert data.traces.shape == (2, 5, 16)
    assert data.recipe["n_beta"] == "20"
    assert data.recipe["schedule.groups"] == "5"


@pytest.mark.parametrize("h", [0.1, 0.0])
def test_pattern_means_are_means_of_tokens(h):
    whole = subject()
    read = read_here(whole, whole.components, recipe(h), seed=1)
    flags = np.random.default_rng(0).random((3, read.tokens.sizes["token"])) < 0.4
    flags[2] = False
    table = pattern_psi(read, ["one", "two", "none"], flags)
    chi = susceptibility(read).value.values
    psi = chi - chi.mean(1, keepdims=True)
    direct = np.stack([psi[:, flags[k]].mean(1) for k in (0, 1)], axis=1)
    np.testing.assert_allclose(table.value.values[:, :2], direct, rtol=1e-9, atol=1e-15)
    assert np.isnan(table.value.values[:, 2]).all()


def test_pattern_errors_come_from_groups(reading):
    flags = np.zeros((1, reading.tokens.sizes["token"]), dtype=bool)
    flags[0, :7] = True
    cell = reading.cell("embed")
    per_group = []
    for group in range(5):
        pair = cell.isel(group=[group, group])
        chi = coupled_column(pair, reading.base)["value"]
        per_group.append(chi[:7].mean() - chi.mean())
    expected = np.std(per_group, ddof=1) / np.sqrt(5)
    table = pattern_psi(reading, ["first"], flags)
    np.testing.assert_allclose(table.error.values[0, 0], expected, rtol=1e-9)


def test_flags_must_fit(reading):
    with pytest.raises(DataError, match="do not fit"):
        pattern_psi(reading, ["one"], np.zeros((1, 3), dtype=bool))


def broken(reading, groups):
    """The reading with some groups of one component marked as failed."""
    cell = reading.cell("embed").copy(deep=True)
    cell["status"][list(groups)] = 1
    cell["failed_step"][list(groups)] = 4
    return replace(reading, cells={**reading.cells, "embed": cell})


def test_a_stored_run_makes_the_same_page(reading, tmp_path):
    whole = replace(subject(), meta={"token_strings": STRINGS})
    options = ReadOptions(progress=False, command="susceptometer read bigram --into run")
    read(whole, whole.components, recipe=recipe(), seed=0, into=tmp_path / "run", options=options)
    stored, here = page_data(reading_at(tmp_path / "run")), page_data(reading, strings=STRINGS)
    assert stored.tokens.text == here.tokens.text
    np.testing.assert_allclose(stored.chi, here.chi, rtol=1e-4, atol=1e-9)
    assert stored.command == "susceptometer read bigram --into run"
    assert {"seed", "torch"} <= set(stored.provenance)
    assert report(reading_at(tmp_path / "run"), tmp_path / "run" / "report.html").exists()


def test_failed_chains_are_named_and_left_out(reading):
    hurt = broken(reading, [1])
    with pytest.raises(ChainError):
        llc(hurt)
    data = page_data(hurt, strings=STRINGS)
    assert data.diagnostics[0].status == "sick"
    assert "embed" in data.notes[0]
    assert np.isfinite(data.llc).all()
    assert np.isfinite(data.chi).all()


def test_a_part_without_chains_is_shown_as_not_read(reading, tmp_path):
    data = page_data(broken(reading, range(5)), strings=STRINGS)
    assert np.isnan(data.llc[0])
    assert np.isfinite(data.llc[1])
    assert report(broken(reading, range(5)), tmp_path / "page.html").exists()


def test_tokens_without_text_are_shown_by_place(reading):
    assert token_text(reading.tokens)[:3] == ["0 ", "1 ", "2 "]
    plain = replace(reading, tokens=reading.tokens.drop_vars("token_id"))
    assert page_data(plain).patterns.names == ()
    assert page_data(reading, strings=STRINGS).patterns.names == PATTERNS


def test_a_long_reading_is_shown_by_whole_rows(reading, monkeypatch):
    monkeypatch.setattr(door, "MOST_TOKENS", 40)
    data = page_data(reading, strings=STRINGS)
    assert len(data.tokens) <= 40
    assert set(data.tokens.probe) == {"base", "new"}
    base = np.array(data.tokens.probe) == "base"
    widths = set(np.bincount(data.tokens.row[base])) - {0}
    assert widths == {8}
    assert "of 96 tokens" in data.notes[-1]
