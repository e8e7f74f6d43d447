"""The parentheses experiment at smoke scale, and its claims on invented arms whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from susceptometer.domains.basin import Basin, meanings
from susceptometer.domains.parentheses_probes import PROPERTIES
from susceptometer.domains.parentheses_training import Behaviour
from susceptometer.reproduce.parentheses_arms import SIZES, Arm, joined_basins, planned
from susceptometer.reproduce.parentheses_claims import Results, accuracy_claim, meaning_claim, steer_claim
from susceptometer.reproduce.registry import reproduce
from susceptometer.reproduce.setting import Setting

COUNT = len(PROPERTIES)
SIZE = replace(SIZES["cpu"], seeds=20, strong=0.0)


def noisy_basin(seed, mean):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(8, COUNT))
    return Basin(0.01 * noise, mean + 0.001 * noise, np.zeros((8, COUNT)), 5 + rng.normal(size=8), 1.0, 100.0)


def arm(name, h, nested, accuracy=1.0):
    share = np.where(np.arange(20) < nested, 1.0, 0.0)
    found = Behaviour(np.full(20, accuracy), share, np.zeros(20))
    return Arm(name, h, found, {"clipped": 0.0, "lost": 0.0, "effective": 1.0}, {})


@pytest.fixture
def results():
    """Probe 2 hurts Nested, probe 4 hurts Equal-Count: the log-odds plan must lower 2 and raise 4."""
    hurt = {"nested": 0.1 * (np.arange(COUNT) == 2), "equal": 0.1 * (np.arange(COUNT) == 4)}
    basins = {kind: [noisy_basin(i, mean)] for i, (kind, mean) in enumerate(hurt.items())}
    found = meanings({k: joined_basins(b) for k, b in basins.items()}, "equal", list(PROPERTIES))
    h = planned(found, SIZE)["log-odds+"]
    arms = [arm("base", 0 * h, 5), arm("log-odds+", h, 16), arm("log-odds-", -h, 1)]
    arms += [arm(f"random-{i}", np.roll(h, 1 + i), 5) for i in range(3)]
    return Results(SIZE, basins, found, {a.name: a for a in arms})


def test_plan_lowers_what_hurts_nested_and_raises_what_hurts_the_other(results):
    h = results.arms["log-odds+"].h
    assert np.argmin(h) == 2 and np.argmax(h) == 4
    assert np.isclose(np.abs(h).sum(), SIZE.total)


def test_unresolved_meanings_are_left_out(results):
    assert "fixed+" not in planned(results.response, SIZE)


def test_a_real_swing_agrees_and_a_swing_that_randoms_share_does_not(results):
    assert steer_claim(results, "log-odds", "").verdict == "agrees"
    same = {**results.arms, "random-0": arm("random-0", results.arms["random-0"].h, 16)}
    assert steer_claim(replace(results, arms=same), "log-odds", "").verdict == "partly"
    same["log-odds-"] = arm("log-odds-", -results.arms["log-odds+"].h, 18)
    assert steer_claim(replace(results, arms=same), "log-odds", "").verdict == "differs"
    bought = {**results.arms, "log-odds+": arm("log-odds+", results.arms["log-odds+"].h, 16, accuracy=0.97)}
    assert steer_claim(replace(results, arms=bought), "log-odds", "").verdict == "partly"


def test_the_meaning_that_predicts_is_told_by_correlation_and_by_what_is_resolved(results):
    claim = meaning_claim(results)
    assert claim.verdict == "agrees"
    assert "2 of 8 entries" in claim.ours.split("log-odds: ")[1]
    assert "0 of 8 entries" in claim.ours.split("total: ")[0]
    turned = {n: arm(n, -a.h, int(a.found.is_nested.sum())) for n, a in results.arms.items()}
    assert meaning_claim(replace(results, arms=turned)).verdict == "open"


def test_lost_accuracy_is_not_called_unchanged(results):
    assert accuracy_claim(results).verdict == "agrees"
    worse = {**results.arms, "log-odds+": arm("log-odds+", results.arms["log-odds+"].h, 16, accuracy=0.9)}
    assert accuracy_claim(replace(results, arms=worse)).verdict == "partly"


def test_smoke(tmp_path):
    setting = Setting("smoke", 0, tmp_path, say=lambda _: None)
    table = reproduce("patterning-parentheses", setting)
    again = reproduce("patterning-parentheses", setting)
    assert [row.ours for row in table.claims] == [row.ours for row in again.claims]
    assert len(table.claims) >= 8
