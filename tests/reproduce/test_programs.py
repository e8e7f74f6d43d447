"""The claim set ``programs`` at smoke scale: exact rows agree, verdicts can fail, pictures show the machines."""

from dataclasses import replace

import numpy as np
import pytest

from susceptometer.reproduce import program_runs, programs, registry
from susceptometer.reproduce.program_search import families, search_claims, searched
from susceptometer.reproduce.setting import Setting


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return Setting("smoke", 0, tmp_path_factory.mktemp("programs"), say=lambda _: None)


@pytest.fixture(scope="module")
def table(setting):
    return registry.reproduce("programs", setting)


def test_every_claim_agrees_or_says_why_not(table):
    verdicts = {row.text[:40]: row.verdict for row in table.claims}
    assert len(verdicts) >= 16
    differs = [text for text, verdict in verdicts.items() if verdict not in ("agrees", "partly")]
    assert differs in ([], ["Machines of detectA's size for its functi"[:40]])  # 11 occurs too: the lab book says more
    assert [row.verdict for row in table.claims][:4] == ["agrees"] * 4


def test_the_search_names_its_counts(table):
    rows = {row.text.rsplit(": ", 1)[1]: row for row in table.claims if row.text.startswith("Net-negative")}
    assert {row.verdict for row in rows.values()} == {"partly"}  # nothing found here proves nothing beyond it
    for noise, value in (("all squares", 8), ("states only", 4), ("moves only", 2)):
        assert rows[noise].ours.startswith("0 found in 2 comparisons, 2 of them decided")
        assert f"contains A (length <= 2), t = 2, 3 symbols, 2 states: {value}" in rows[noise].ours


def test_cells_are_kept(table, setting):
    again = program_runs.sampled(setting, program_runs.cases("smoke")[0])
    assert again["exact"].tolist() == [3.5, 1.0, 3.5]
    assert setting.cpu_seconds() > 0


def test_a_wrong_exact_value_is_seen(table, setting, tmp_path):
    """Planted fault: with M2's exact value under M1's name the claim fails."""
    cells = [(case, program_runs.sampled(setting, case)) for case in program_runs.cases("smoke")[:2]]
    wrong = {**cells[0][1], "exact": np.asarray([4.0, 1.0, 4.0])}
    assert abs(programs._score(cells[0][0], cells[0][1])) < 4
    assert programs._score(cells[0][0], wrong) < -8
    assert (
        programs._separation([(cells[0][0], {**cells[0][1], "exact": np.asarray([4.5, 1, 4.5])}), cells[1]]).verdict
        == "differs"
    )


def test_a_planted_hit_is_reported(table, setting, tmp_path):
    """A smaller value in a larger class must turn its row, and only that one."""
    import shutil

    copy = tmp_path / "cells"
    shutil.copytree(setting.folder, copy)
    planted = replace(setting, folder=copy)
    family = families("smoke", "states only")[0][1]
    found = dict(searched(planted, family, None))
    for path in (copy / "search").glob("contains-A-22-2-st-4x2.npz"):
        np.savez(path, **{**found, "fraction": np.asarray([7, 2])})
    verdicts = [row.verdict for row in search_claims(planted)]
    assert verdicts == ["partly", "agrees", "partly"]
    assert "4 symbols, 2 states: 7/2" in search_claims(planted)[1].ours


def test_figures_show_machines_runs_and_errors(table, setting):
    found = programs.REPRODUCTION.figures(setting)
    assert len(found) == 10
    panels = next(figure for caption, figure in found.items() if "every uncorrected single error" in caption)
    titles = {axes.get_title().split(":  ")[0] for axes in panels.axes if axes.get_visible()}
    assert any(title.startswith("A,acc:st>r: 4 times, in 4 of 6 inputs") for title in titles)
    diagram = next(figure for caption, figure in found.items() if caption.startswith("detectA: does"))
    words = {text.get_text() for text in diagram.axes[0].texts}
    assert {"r", "acc", "A/A,S", "_/_,S\nB/B,R"} <= words
    heat = next(figure for caption, figure in found.items() if "the Hessian of H" in caption)
    assert "1.745, 1.000, 1.000, 0.255" in heat.axes[1].get_title()
