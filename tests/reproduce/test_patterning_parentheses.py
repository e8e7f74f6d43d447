"""The parentheses experiment at smoke scale, and its claims on invented arms whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from susceptometer.domains.basin import Basin, meanings
from susceptometer.domains.parentheses_probes import PROPERTIES
from susceptometer.domains.parentheses_training import Behaviour, Dosing
from susceptometer.reproduce.parentheses_arms import RELEASE, SIZES, TOTAL, VARIANTS, Mix, controls, planned, repeated
from susceptometer.reproduce.parentheses_claims import Results, accuracy_claim, release_claim, repeat_claim, steer_claim
from susceptometer.reproduce.parentheses_meanings import arms_claim, correlation, directions, meaning_claim, moved
from susceptometer.reproduce.parentheses_runs import Arm, Course, joined_basins, seeds
from susceptometer.reproduce.registry import page, reproduce
from susceptometer.reproduce.setting import Setting

COUNT, MODELS = len(PROPERTIES), 40
SIZE = replace(SIZES["cpu"], variants=tuple(VARIANTS), neutral=3)


def noisy_basin(seed, mean):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(8, COUNT))
    return Basin(0.01 * noise, mean + 0.001 * noise, np.zeros((8, COUNT)), 5 + rng.normal(size=8), 1.0, 100.0)


def arm(name, h, nested, accuracy=1.0, dosing=RELEASE, at_release=None):
    """Of 40 models the first ``nested`` end Nested and the first ``at_release`` were Nested when the data changed."""
    ends, held = (
        np.where(np.arange(MODELS) < n, 1.0, 0.0) for n in (nested, nested if at_release is None else at_release)
    )
    course = Course(np.array([500, 750, 1000]), np.full((3, MODELS), accuracy), np.stack([held, held, ends]))
    found = Behaviour(np.full(MODELS, accuracy), ends, np.zeros(MODELS))
    return Arm(name, Mix(h, MODELS, dosing), h, found, course, {"clipped": 0.0, "lost": 0.0, "effective": 1.0}, {})


@pytest.fixture
def results():
    """Probe 2 hurts Nested, probe 4 hurts Equal-Count: the log-odds plan must lower 2 and raise 4."""
    hurt = {"nested": 0.1 * (np.arange(COUNT) == 2), "equal": 0.1 * (np.arange(COUNT) == 4)}
    basins = {kind: [noisy_basin(i, mean)] for i, (kind, mean) in enumerate(hurt.items())}
    found = meanings({k: joined_basins(b) for k, b in basins.items()}, "equal", list(PROPERTIES))
    h = planned(found, found, SIZE)["log-odds+"].h
    arms = [arm("base", 0 * h, 8), arm("log-odds+", h, 30), arm("log-odds-", -h, 1)]
    arms += [arm(f"random-{i}", np.roll(h, 1 + 2 * i), 8 + 3 * (i - 1)) for i in range(3)]
    arms += [arm(n, mix.h, 8) for n, mix in controls(found, SIZE, 0).items() if n.startswith("neutral")]
    return Results(SIZE, basins, found, {a.name: a for a in arms})


def changed(results, *arms):
    return replace(results, arms={**results.arms, **{a.name: a for a in arms}})


def test_plan_lowers_what_hurts_nested_and_raises_what_hurts_the_other(results):
    arms = planned(results.response, results.response, SIZE)
    h = arms["log-odds+"].h
    assert np.argmin(h) == 2 and np.argmax(h) == 4
    assert np.isclose(np.abs(h).sum(), TOTAL)
    assert np.array_equal(arms["replanned+kept"].h, h) and np.allclose(arms["replanned+half"].h, h / 2)
    assert arms["replanned+kept"].dosing == Dosing() and arms["log-odds+"].dosing == RELEASE


def test_unresolved_meanings_are_left_out(results):
    assert "fixed+" not in planned(results.response, results.response, SIZE)


def test_controls_have_the_size_and_timing_of_the_planned_arms_and_neutral_ones_no_predicted_effect(results):
    arms = controls(results.response, SIZE, seed=3)
    row = results.response.chi[results.response.observables.index("log-odds nested")]
    assert all(np.isclose(np.abs(a.h).sum(), TOTAL) and a.dosing == RELEASE for a in arms.values())
    cosines = {n: row @ a.h / np.linalg.norm(row) / np.linalg.norm(a.h) for n, a in arms.items()}
    assert max(abs(c) for n, c in cosines.items() if n.startswith("neutral")) < 1e-12
    assert max(abs(c) for n, c in cosines.items() if n.startswith("random")) > 0.05
    assert sum(n.startswith("random") for n in arms) == 5
    assert not np.allclose(arms["random-0"].h, controls(results.response, SIZE, seed=4)["random-0"].h)


def test_a_real_swing_agrees_and_a_swing_that_randoms_share_does_not(results):
    h = results.arms["log-odds+"].mix.h
    assert steer_claim(results, "log-odds").verdict == "agrees"
    same = changed(results, arm("random-0", results.arms["random-0"].mix.h, 24))
    assert steer_claim(same, "log-odds").verdict == "partly"
    assert "['random-0']" in steer_claim(same, "log-odds").null
    assert steer_claim(changed(results, arm("log-odds-", -h, 36)), "log-odds").verdict == "differs"
    assert steer_claim(changed(results, arm("log-odds+", h, 30, accuracy=0.997)), "log-odds").verdict == "partly"
    assert steer_claim(changed(results, arm("log-odds+", h, 15)), "log-odds").verdict == "partly"
    assert steer_claim(changed(results, arm("log-odds+", h, 3)), "log-odds").verdict == "open"


def test_an_algorithm_that_is_lost_after_the_release_has_not_outlived_its_data(results):
    h = results.arms["log-odds+"].mix.h
    assert release_claim(results).verdict == "agrees"
    lost = release_claim(changed(results, arm("log-odds+", h, 10, at_release=30)))
    assert lost.verdict == "partly" and "Of 30 models" in lost.ours and "10 are Nested at the end" in lost.ours
    assert release_claim(changed(results, arm("log-odds+", h, 0, at_release=30))).verdict == "differs"


def test_the_meaning_that_predicts_is_told_by_correlation_and_by_what_is_resolved(results):
    claim = meaning_claim(results)
    assert claim.verdict == "agrees"
    assert "2 of 8 entries" in claim.ours.split("log-odds: ")[1]
    assert "0 of 8 entries" in claim.ours.split("total: ")[0]
    turned = {n: arm(n, -a.mix.h, int(a.found.is_nested.sum())) for n, a in results.arms.items()}
    assert meaning_claim(replace(results, arms=turned)).verdict == "open"


def test_opposite_arms_are_one_direction(results):
    arms = [a for n, a in results.arms.items() if n != "base"]
    assert directions(arms) == len(arms) - 1


def test_an_error_of_a_correlation_grows_with_the_noise_of_the_response():
    rng = np.random.default_rng(0)
    row, h = rng.normal(size=COUNT), rng.normal(size=(20, COUNT))
    sharp, blurred = (correlation(row + s * rng.normal(size=(8, COUNT)), h, h @ row) for s in (0.01, 3.0))
    assert sharp[0] > 0.999 and sharp[1] < 0.001
    assert blurred[1] > 0.02


def test_changes_are_against_the_base_models_of_the_same_seeds(results):
    short = arm("random-0", results.arms["random-0"].mix.h, 8)
    short = replace(short, found=Behaviour(*(v[:8] for v in vars(short.found).values())))
    assert moved(changed(results, short), "random-0") == (0.0, 0.0)


def test_a_direction_that_moves_against_its_prediction_is_counted(results):
    h = results.arms["log-odds+"].mix.h
    good = changed(results, *(arm(f"random-{i}", (-1) ** i * h, 30 * (i % 2 == 0)) for i in range(4)))
    names = good.starting("random")
    assert arms_claim(good, names, "text").verdict == "agrees"
    bad = changed(good, *(arm(f"random-{i}", -((-1) ** i) * h, 30 * (i % 2 == 0)) for i in range(4)))
    assert arms_claim(bad, names, "text").verdict == "differs"


def test_lost_accuracy_is_not_called_unchanged(results):
    assert accuracy_claim(results).verdict == "agrees"
    h = results.arms["log-odds+"].mix.h
    assert accuracy_claim(changed(results, arm("log-odds+", h, 30, accuracy=0.99))).verdict == "partly"


def test_solutions_are_the_replicates_once_there_are_four():
    one, other = noisy_basin(0, np.zeros(COUNT)), noisy_basin(1, np.ones(COUNT))
    assert joined_basins([one, other]).mean.shape == (16, COUNT)
    assert joined_basins([one, other, one, other]).mean.shape == (4, COUNT)


def test_smoke(tmp_path):
    setting = Setting("smoke", 0, tmp_path, say=lambda _: None)
    table = reproduce("patterning-parentheses", setting)
    again = reproduce("patterning-parentheses", setting)
    assert [row.ours for row in table.claims] == [row.ours for row in again.claims]
    assert len(table.claims) >= 12
    assert page(table, setting).count("<figure>") == 3


def test_the_repeat_is_the_same_plan_on_fresh_seeds(results):
    arms = planned(results.response, results.response, SIZE)
    again = repeated(arms, SIZE)
    assert np.array_equal(again["repeat+"].h, arms["replanned+"].h) and again["repeat-base"].h.any() == False  # noqa: E712
    fresh = set(seeds(1, again["repeat+"].models, again["repeat+"].first))
    assert not fresh & set(seeds(1, SIZE.seeds)) and not fresh & set(seeds(0, SIZE.bank))
    assert repeated({}, SIZE) == {}


@pytest.mark.parametrize(("plus", "accuracy", "verdict"), [(28, 1.0, "agrees"), (28, 0.99, "partly"), (8, 1.0, "open")])
def test_a_repeat_must_move_the_share_at_equal_accuracy(results, plus, accuracy, verdict):
    h = results.arms["log-odds+"].mix.h
    again = [arm("repeat-base", 0 * h, 4), arm("repeat+", h, plus, accuracy), arm("repeat-", -h, 8 if plus == 8 else 0)]
    assert repeat_claim(replace(results, again={a.name: a for a in again})).verdict == verdict
