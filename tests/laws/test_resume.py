"""Killed at random moments with SIGKILL, a reading goes on and gives bit for bit the uninterrupted numbers."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from susceptometer.compute.opened import reading_at
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from toy_subject import HEADS, recipe, same_numbers, tiny

GROUPS, TESTS = 24, Path(__file__).parents[1]

WORKER = """
import sys
import torch
torch.set_num_threads(1)
from toy_subject import HEADS, recipe, tiny
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
print("ready", flush=True)
options = ReadOptions(progress=False, block=2)
read(tiny(), HEADS, recipe=recipe(%d, draws=8), seed=6, into=sys.argv[1], options=options)
"""


def worker(path):
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORKER % GROUPS, str(path)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill_after(process, seconds):
    """Wait until the worker is about to read, then kill it after some time; whether it was still running."""
    process.stdout.readline()
    time.sleep(seconds)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    return alive


def count(path):
    return len(list((path / "cells").glob("[0-9a-f]*")))


def survivors(path, dice, kills):
    """Kill workers at random moments; no cell that was finished may ever be lost."""
    done = 0
    for _ in range(kills):
        kill_after(worker(path), dice.uniform(0.05, 1.2))
        now = count(path) if (path / "cells").exists() else 0
        assert now >= done
        done = now
    return done


def whole(path):
    options = ReadOptions(progress=False, block=2)
    return read(tiny(), HEADS, recipe=recipe(GROUPS, draws=8), seed=6, into=path, options=options)


def test_killed_runs_resume_to_the_same_numbers(tmp_path, seed):
    survivors(tmp_path / "killed", random.Random(seed), kills=4)
    resumed = whole(tmp_path / "killed")
    assert same_numbers(resumed, whole(tmp_path / "whole"))
    assert not list((tmp_path / "killed" / "cells").glob(".part-*"))
    assert same_numbers(reading_at(tmp_path / "killed"), resumed)


@pytest.mark.slow
def test_fifty_kills_change_no_number(tmp_path, seed):
    dice = random.Random(seed)
    for round_number in range(5):
        survivors(tmp_path / str(round_number), dice, kills=10)
        assert same_numbers(whole(tmp_path / str(round_number)), whole(tmp_path / "whole"))


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
