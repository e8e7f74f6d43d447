"""Killed at random moments with SIGKILL, a reading goes on and gives bit for bit the uninterrupted numbers."""

import random

import pytest

from kills import Readings
from susceptometer.compute.opened import reading_at
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from toy_subject import HEADS, recipe, same_numbers, tiny

GROUPS = 24


@pytest.fixture(scope="module")
def readings():
    with Readings(GROUPS) as parent:
        yield parent


def count(path):
    return len(list((path / "cells").glob("[0-9a-f]*")))


def survivors(readings, path, dice, kills):
    """Kill a reading again and again until it gets through or ``kills`` are used; no finished cell is ever lost.

    Returns:
        Kills of running readings, and how many of them left a half-written cell.
    """
    done = used = torn = 0
    while used < kills and readings.killed(path, dice.uniform(0.02, 0.8)):
        used += 1
        torn += bool(list(path.rglob(".part-*")))
        now = count(path)
        assert now >= done
        done = now
    return used, torn


def whole(path):
    options = ReadOptions(progress=False, block=2)
    return read(tiny(), HEADS, recipe=recipe(GROUPS, draws=8), seed=6, into=path, options=options)


def healed(readings, path, dice, kills):
    """A reading that was killed up to ``kills`` times and went on; kills, and those that left a torn cell."""
    used = survivors(readings, path, dice, kills)
    resumed = whole(path)
    assert not list(path.rglob(".part-*"))
    assert same_numbers(reading_at(path), resumed)
    return resumed, *used


def test_killed_runs_resume_to_the_same_numbers(tmp_path, readings, seed):
    resumed, kills, _ = healed(readings, tmp_path / "killed", random.Random(seed), 4)
    assert kills > 0
    assert same_numbers(resumed, whole(tmp_path / "whole"))


@pytest.mark.slow
def test_fifty_kills_change_no_number(tmp_path, readings, seed):
    dice, kills, torn, runs = random.Random(seed), 0, 0, 0
    while kills < 50:
        resumed, used, halves = healed(readings, tmp_path / str(runs), dice, 50 - kills)
        kills, torn, runs = kills + used, torn + halves, runs + 1
        assert same_numbers(resumed, whole(tmp_path / "whole"))
    print(
        f"{kills} kills of running readings in {runs} runs, {torn} in the middle of writing a cell; 0 numbers changed"
    )
    assert torn > 0


def test_a_keyboard_interrupt_leaves_a_run_that_goes_on(tmp_path):
    seen = []

    def stop(now):
        seen.append(now)
        if now.cells == 2:
            raise KeyboardInterrupt

    options = ReadOptions(progress=stop, block=2)
    with pytest.raises(KeyboardInterrupt):
        read(tiny(), HEADS, recipe=recipe(4, draws=8), seed=6, into=tmp_path / "run", options=options)
    assert count(tmp_path / "run") == 2
    assert not list((tmp_path / "run" / "cells").glob(".part-*"))
    options = ReadOptions(progress=False, block=2)
    again = read(tiny(), HEADS, recipe=recipe(4, draws=8), seed=6, into=tmp_path / "run", options=options)
    fresh = read(tiny(), HEADS, recipe=recipe(4, draws=8), seed=6, into=tmp_path / "fresh", options=options)
    assert same_numbers(again, fresh)


def test_progress_tells_share_time_and_live_rhat(tmp_path):
    seen = []
    options = ReadOptions(progress=seen.append, block=2)
    read(tiny(), HEADS, recipe=recipe(4, draws=8), seed=6, into=tmp_path / "run", options=options)
    shares = [now.share for now in seen]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert seen[-1].cells == seen[-1].of == 4
    assert set(seen[-1].rhat) == {"blocks.0.attn.head.0", "blocks.0.attn.head.1"}
    assert seen[-1].seconds_left == 0.0
