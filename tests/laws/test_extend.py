"""A run that grew by groups, components or probes equals one long run, bit for bit, and repeats no cell."""

from dataclasses import replace

import numpy as np
import pytest

from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import block_size, extend, read
from susceptometer.compute.schedule import Goal, errors, next_groups
from susceptometer.errors import RecipeError, RunError
from toy_subject import HEADS, recipe, rows, same_numbers, tiny

QUIET = ReadOptions(progress=False, block=2)
ONE, TWO = "blocks.0.attn.head.0", "blocks.0.attn.head.1"


def begun(path, *, groups=4, components=HEADS, subject=None, options=QUIET):
    return read(subject or tiny(), components, recipe=recipe(groups), seed=4, into=path, options=options)


def times(path):
    return {folder.name: folder.stat().st_mtime_ns for folder in (path / "cells").iterdir()}


def grown(path, before):
    after = times(path)
    assert {name: after[name] for name in before} == before
    return len(after) - len(before)


@pytest.fixture
def short(tmp_path):
    begun(tmp_path / "short")
    return tmp_path / "short"


def test_more_groups_equal_one_long_run(short, tmp_path):
    before = times(short)
    longer = extend(short, tiny(), groups=8, options=QUIET)
    assert grown(short, before) == 4
    assert same_numbers(longer, begun(tmp_path / "long", groups=8))


def test_more_groups_of_one_component_only(short):
    longer = extend(short, tiny(), groups=8, components=["0:1"], options=QUIET)
    assert [longer.cell(name).sizes["group"] for name in (ONE, TWO)] == [4, 8]


def test_more_components_equal_one_long_run(tmp_path):
    begun(tmp_path / "short", components=["0:0"])
    before = times(tmp_path / "short")
    wider = extend(tmp_path / "short", tiny(), components=["0:1", "full"], options=QUIET)
    assert grown(tmp_path / "short", before) == 4
    assert same_numbers(wider, begun(tmp_path / "long", components=["0:0", "0:1", "full"]))


def test_more_tokens_equal_one_long_run(short, tmp_path):
    before, more = times(short), {"more": rows("more", 3)}
    wider = extend(short, tiny(), probes=more, options=QUIET)
    assert grown(short, before) == 4
    subject = replace(tiny(), probes={**tiny().probes, **more})
    whole = begun(tmp_path / "long", subject=subject)
    assert same_numbers(wider, whole)
    assert wider.tokens.equals(whole.tokens)


def test_tokens_then_groups_then_components(tmp_path):
    more = {"more": rows("more", 3)}
    begun(tmp_path / "short", groups=2, components=["0:0"])
    extend(tmp_path / "short", tiny(), probes=more, options=QUIET)
    extend(tmp_path / "short", tiny(), groups=4, options=QUIET)
    grown_up = extend(tmp_path / "short", tiny(), components=["0:1"], groups=4, options=QUIET)
    subject = replace(tiny(), probes={**tiny().probes, **more})
    assert same_numbers(grown_up, begun(tmp_path / "long", subject=subject))


def test_reading_with_more_groups_into_the_same_folder_extends(short, tmp_path):
    longer = begun(short, groups=6)
    assert same_numbers(longer, begun(tmp_path / "long", groups=6))


def test_another_subject_cannot_extend(short):
    with pytest.raises(RunError, match="the weights"):
        extend(short, tiny(9), groups=8, options=QUIET)


def test_a_target_puts_groups_where_the_error_is_largest(tmp_path):
    first = begun(tmp_path / "run")
    error = errors(first, "llc")
    small, large = sorted(error, key=lambda name: error[name])
    goal = Goal(target_se=0.99 * error[large])
    reading = begun(tmp_path / "run", options=replace(QUIET, goal=goal))
    assert reading.cell(large).sizes["group"] > 4 == reading.cell(small).sizes["group"]


def test_a_round_equalises_errors_within_its_budget():
    seconds = {"a": 1.0, "b": 1.0, "c": 1.0}
    now, error = dict.fromkeys("abc", 8), {"a": 1.0, "b": 0.5, "c": 0.1}
    goal = Goal(budget=100.0)
    then = next_groups(now, error, goal, seconds=seconds, left=2.0, block=2)
    assert then == {"a": 12, "b": 8, "c": 8}
    then = next_groups(now, error, Goal(target_se=0.4), seconds=seconds, left=np.inf, block=2)
    assert then == {"a": 16, "b": 14, "c": 8}
    assert next_groups(now, error, Goal(target_se=2.0), seconds=seconds, left=np.inf, block=2) == now


def test_a_budget_that_covers_nothing_is_refused(tmp_path):
    with pytest.raises(RunError, match="budget does not cover the first round.*s expected"):
        begun(tmp_path / "run", options=replace(QUIET, goal=Goal(budget=1e-3)))


@pytest.mark.parametrize("fields", [{}, {"target_se": 0.0}, {"budget": -1.0}, {"target_se": 1.0, "of": "x"}])
def test_a_goal_must_be_one(fields):
    with pytest.raises(RecipeError, match="a goal needs"):
        Goal(**fields)


@pytest.mark.parametrize(("groups", "block"), [(1, 1), (4, 4), (8, 8), (12, 6), (32, 8), (7, 7), (11, 4)])
def test_blocks_divide_the_groups(groups, block):
    assert block_size(groups) == block
