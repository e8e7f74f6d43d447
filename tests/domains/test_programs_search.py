"""The search for machines that correction makes simpler: minima against listing, bounds against exact values."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from susceptometer.domains.programs.follow import OPEN, inserted
from susceptometer.domains.programs.ideal import exact_coefficient
from susceptometer.domains.programs.partial import Followed, completed, unpacked
from susceptometer.domains.programs.potential import error_probabilities
from susceptometer.domains.programs.search import BranchAndBound, Class
from susceptometer.domains.programs.syndromes import syndrome_types

FULL, STATE_ONLY = ("sym", "st", "dir"), ("st",)


def tables(shape):
    """Every table of a shape."""
    rows = list(product(*map(range, shape.sizes)))
    return (np.asarray(choice) for choice in product(rows, repeat=shape.tuples))


def names_in_types(machine, types, shape):
    """Monomials in the numbers of ``machine.errors`` as monomials in the numbers of ``follow``."""
    alphabets = {"sym": list(machine.symbols), "st": list(machine.states), "dir": ["S", "L", "R"]}
    width = sum(shape.sizes)
    numbers = []
    for e in machine.errors:
        place = machine.symbols.index(e.symbol) * shape.states + machine.states.index(e.state)
        offset = {"sym": 0, "st": shape.symbols, "dir": shape.symbols + shape.states}[e.kind]
        numbers.append(place * width + offset + alphabets[e.kind].index(e.value))
    return {tuple(sorted(numbers[v] for v in monomial)) for monomial in types}


@pytest.mark.parametrize("noisy", [FULL, STATE_ONLY])
def test_followed_runs_are_the_syndromes(noisy, seed):
    family = Class("contains A", 2, 2, 3, 3, 2, noisy, mapped=False)
    shape = family.shapes()[0]
    draw, compared = np.random.default_rng(seed), 0
    for _ in range(2000):
        table = np.stack([draw.integers(0, size, shape.tuples) for size in shape.sizes], axis=1)
        machine, question = completed(shape, table)
        here = Followed(shape, table, 3)
        assert here.answers == question.solved_by(machine)
        if here.answers and compared < 8:
            assert here.types == names_in_types(machine, syndrome_types(machine, question, 3), shape)
            assert here.missing is None
            assert here.quick_bound() <= here.bound() == exact_coefficient(machine, question, 3).newton.value
            compared += 1
    assert compared >= 4


def test_bounds_of_open_tables_hold_for_their_completions(seed):
    shape = Class("contains A", 2, 2, 2, 3, 2, FULL, mapped=True).shapes()[0]
    draw, seen = np.random.default_rng(seed), set()
    for _ in range(2000):
        table = np.stack([draw.integers(0, size, shape.tuples) for size in shape.sizes], axis=1)
        machine, question = completed(shape, table)
        if question.solved_by(machine):
            value = exact_coefficient(machine, question, 3).newton.value
            open_table = np.where(draw.random(table.shape) < 0.3, OPEN, table)
            here = Followed(shape, open_table, 3)
            assert here.answers
            assert here.bound() <= value
            seen.add(here.bound() > 0)
    assert seen == {True, False}


@pytest.mark.parametrize(("question", "noisy"), [("contains A", FULL), ("parity of A", STATE_ONLY)])
def test_branch_and_bound_finds_the_minimum_of_a_listed_class(question, noisy):
    """20,736 tables with two symbols and two states, two readouts: the smallest value by listing them all."""
    family = Class(question, 1, 2, 2, 2, 2, noisy, mapped=True)
    found = BranchAndBound(family, 3, seconds=60).minimum()
    listed = []
    for shape in family.shapes():
        values = {}
        for table in tables(shape):
            here = Followed(shape, table, 3)
            if here.answers and here.types not in values:
                values[here.types] = here.bound()
        listed += list(values.values())
    assert found.complete and found.value == min(listed)
    assert found.covered == 2 * 12**4
    assert (
        exact_coefficient(found.machine, completed(family.shapes()[0], shape.blank_table)[1], 4).newton.value
        == found.value
    )
    nothing = BranchAndBound(family, 3, seconds=60, ceiling=found.value).minimum()
    assert nothing.complete and nothing.value is None


def test_contains_a_in_two_steps():
    """Full noise: no machine of this size is below detectA (8), and a fourth symbol does not help."""
    family = Class("contains A", 2, 2, 2, 3, 2, FULL, mapped=True)
    found = BranchAndBound(family, 3, seconds=60).minimum()
    assert found.complete and found.value == 8
    larger = Class("contains A", 2, 2, 2, 4, 2, FULL, mapped=True)
    assert BranchAndBound(larger, 3, seconds=60, ceiling=Fraction(8)).minimum().value is None


def test_a_search_that_runs_out_of_time_says_so():
    family = Class("parity of A", 2, 2, 3, 3, 3, FULL, mapped=True)
    assert not BranchAndBound(family, 3, seconds=0.05).minimum().complete


def test_packed_types_are_sorted_multisets():
    code = 0
    for variable in (7, 3, 7, 900):
        code = inserted(code, variable)
    assert unpacked(code) == (3, 7, 7, 900)
    assert inserted(inserted(0, 5), 2) == inserted(inserted(0, 2), 5)


def test_one_state_more_is_simpler_when_only_moves_are_noisy():
    """First letter in two steps: the two-state minimum is 1; with three states no wrong move can do harm, f = 0.

    Two states cannot: the letters must lead to different states, one of them the start; read there after a wrong move,
    the other letter leads on to the wrong answer.
    """
    two, three = (Class("first is A", 2, 2, 2, 3, states, ("dir",), mapped=True) for states in (2, 3))
    small, large = (BranchAndBound(family, 4, seconds=60).minimum() for family in (two, three))
    assert small.complete and small.value == 1 and small.machine.dim == 12
    assert large.complete and large.value == 0 and large.machine.dim == 18
    question = completed(three.shapes()[0], three.shapes()[0].blank_table)[1]
    question.check(large.machine)
    assert syndrome_types(large.machine, question, 6) == frozenset()
    eps = np.random.default_rng(0).uniform(0, 0.2, (18, 50))
    assert np.all(error_probabilities(large.machine, question, eps) == 0)
    assert error_probabilities(small.machine, question, eps[:12]).mean(0).min() > 0
