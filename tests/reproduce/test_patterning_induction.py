"""The induction experiment at smoke scale, and what its claims say of made-up arms."""

import numpy as np
import pytest

from susceptometer.reproduce.induction_arms import SCORES
from susceptometer.domains.pico import making_of
from susceptometer.reproduce.induction_editing import _facts, collapsed, white_rows
from susceptometer.reproduce.induction_outcome import BASELINE, CONTROLS, DOSES, SCRATCH, STRONG, Outcome
from susceptometer.reproduce.patterning_induction import REPRODUCTION, SIZES
from susceptometer.reproduce.registry import reproduce
from susceptometer.reproduce.setting import Setting


def test_smoke_runs_and_goes_on_from_its_cells(tmp_path):
    said = []
    setting = Setting("smoke", 0, tmp_path, say=said.append)
    table = reproduce("patterning-induction", setting)
    assert len(table.claims) >= 9 and {row.verdict for row in table.claims} == {"open"}, "smoke decides nothing"
    assert any("arm plan+2 is done" in line for line in said)
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz"))
    again = reproduce("patterning-induction", setting)
    assert [row.ours for row in again.claims] == [row.ours for row in table.claims]
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")) == before
    assert set(REPRODUCTION.figures(setting)) != set()


def made_up(onsets):
    """An outcome whose prefix-matching score of every arm jumps from 0 to 0.5 at a given step, +- 20 per seed."""
    steps = np.arange(0, 3501, 125)
    scores = {}
    for arm, at in onsets.items():
        curve = np.zeros((len(steps), 3, len(SCORES)))
        for seed in range(3):
            curve[:, seed, 0] = 0.5 / (1 + np.exp(-(steps - at - 20 * seed) / 60))
            curve[:, seed, 1] = curve[:, seed, 0]
        scores[arm] = curve
    return Outcome(SIZES["cpu"], scores, steps)


ARMS = {BASELINE: 2000} | {arm: 2000 - 300 * arm.strength for arm in (*DOSES, *SCRATCH)}


def test_a_working_plan_is_seen_to_work():
    table = made_up(ARMS | dict.fromkeys(CONTROLS, 2000))
    half = table.shift(0.5)
    assert half.verdict == "agrees" and "plan +2: -600" in half.ours
    assert table.delays(DOSES[1], 0.5) == pytest.approx([600, 600, 600], abs=10)
    assert table.dose().verdict == "agrees" and "4 of 4 steps up" in table.dose().ours
    assert [table.versus(kind).verdict for kind in ("permuted", "flag", "loss")] == ["agrees"] * 3
    assert table.scratch().verdict == "agrees" and table.earlier().verdict == "agrees"


def test_a_plan_that_does_nothing_or_less_than_a_control_is_seen():
    dead = made_up(dict.fromkeys((BASELINE, *DOSES, *CONTROLS), 2000))
    assert dead.shift(0.5).verdict == "differs" and dead.versus("permuted").verdict == "differs"
    rival = made_up(ARMS | {arm: 2000 - 500 * arm.strength for arm in CONTROLS})
    assert rival.versus("flag").verdict == "differs"
    wrong = made_up(ARMS | {arm: 2000 + 300 * arm.strength for arm in DOSES})
    assert wrong.shift(0.25).verdict == "differs" and wrong.dose().verdict == "differs"


def test_an_onset_that_never_comes_is_a_bound_and_is_said():
    table = made_up(ARMS | dict.fromkeys(CONTROLS, 2000) | {DOSES[1]: 9000})
    assert DOSES[1].strength == -STRONG and table.late(DOSES[1], 0.5) == 3
    assert "3 of 3 seeds not by step 3,500" in table.shift(0.5).ours
    assert "absent" in table.final().text and table.final().verdict == "partly"


def test_collapsing_keeps_one_of_every_run():
    assert collapsed("a  b\n\n\n    c\t\td e") == "a b\n c\td e"


def test_white_rows_hold_runs_that_the_fin_can_be_read_from():
    rows = white_rows(4, seed=0)
    spacing, run, row, kinds = _facts(rows)
    assert rows.shape == (4, making_of("pico-mini").config.context + 1)
    assert spacing.sum() > 100 and run[spacing].max() >= 8 and (np.bincount(row[spacing]) > 10).all()
    assert (kinds.sum(1) == 1).all()
