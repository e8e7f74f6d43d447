"""Exact learning coefficients of the worked machines: every printed value."""

from collections import Counter, defaultdict
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from susceptometer.domains.programs import library
from susceptometer.domains.programs.ideal import exact_coefficient, ideal
from susceptometer.domains.programs.machine import Machine, Rule
from susceptometer.domains.programs.potential import error_probabilities
from susceptometer.domains.programs.problem import problem, strings
from susceptometer.domains.programs.syndromes import syndrome_types
from susceptometer.errors import SubjectError
from susceptometer.testbed.newton import threshold

CLOCKWORKS = {  # steps: value (m): machines, three states, accept = state 2
    1: {"2 (1)": "200 201 202 210 211 212 220 221 222"},
    2: {"7/2 (1)": "202 212 222", "4 (1)": "120 121 122"},
    3: {"10/3 (1)": "212", "10/3 (2)": "202", "10/3 (3)": "222", "4 (1)": "122 200 210 220", "5 (1)": "221"},
    4: {"3 (1)": "202", "3 (2)": "222", "13/4 (1)": "212", "10/3 (1)": "122", "6 (1)": "121 201"},
    5: {"14/5 (1)": "202", "14/5 (2)": "222", "3 (1)": "122", "16/5 (1)": "212", "4 (1)": "200 210 220",
        "5 (1)": "221", "6 (1)": "120"},
}  # fmt: skip
DETECT_A = {  # (L, t): exact, unstaged, staged
    (1, 1): ("2 (1)", "2 (1)", "2 (1)"),
    (1, 2): ("7 (3)", "7 (3)", "7 (4)"),
    (1, 3): ("8 (1)", "8 (1)", "8 (1)"),
    (2, 2): ("8 (1)", "8 (1)", "8 (1)"),
    (2, 3): ("10 (3)", "10 (2)", "10 (2)"),
    (2, 4): ("10 (3)", "10 (2)", "29/3 (1)"),
    (3, 3): ("10 (2)", "10 (2)", "10 (2)"),
    (3, 4): ("10 (3)", "10 (1)", "10 (1)"),
    (3, 5): ("10 (3)", "10 (2)", "29/3 (1)"),
}
VARIANTS = {  # variant: values at (2, 2), (2, 3), (3, 4), each exact, unstaged, staged; V0 is detectA, above
    1: ("8 (1)", "8 (1)", "8 (1)", "10 (3)", "10 (2)", "19/2 (2)", "10 (3)", "10 (1)", "19/2 (1)"),
    2: ("8 (1)", "8 (1)", "8 (1)", "10 (3)", "10 (2)", "19/2 (2)", "10 (3)", "10 (1)", "19/2 (1)"),
    3: ("8 (1)", "8 (1)", "8 (1)", "10 (3)", "10 (2)", "10 (2)", "10 (3)", "10 (1)", "10 (1)"),
}
SEMANTICS = ("exact", "unstaged", "staged")


def shown(machine, question, degree=3, semantics="exact"):
    return str(exact_coefficient(machine, question, degree, semantics).newton)


def clockworks(states, accept, steps):
    codes = ["".join(letters) for letters in product("0123"[:states], repeat=states)]
    question = library.reaches(accept, steps)
    machines = {code: library.clockwork(code) for code in codes}
    return {code: m for code, m in machines.items() if question.solved_by(m)}, question


@pytest.mark.parametrize("steps", CLOCKWORKS)
def test_all_state_only_machines_with_three_states(steps):
    machines, question = clockworks(3, "2", steps)
    found = defaultdict(list)
    for code, machine in machines.items():
        found[shown(machine, question, steps)].append(code)
    assert {value: " ".join(codes) for value, codes in found.items()} == CLOCKWORKS[steps]


def test_two_and_four_states():
    expected = {
        2: {"11": "3/2", "10": None},
        3: {"11": "4/3", "10": "2"},
        4: {"11": "5/4"},
        5: {"11": "6/5", "10": "2"},
    }
    for steps, values in expected.items():
        machines, question = clockworks(2, "1", steps)
        assert {c: shown(m, question, steps).split()[0] for c, m in machines.items()} == {
            c: v for c, v in values.items() if v
        }


@pytest.mark.parametrize(("steps", "ends"), [
    (2, ("11/2", "6")), (3, ("16/3", "9")), pytest.param(4, ("21/4", "11"), marks=pytest.mark.slow),
])  # fmt: skip
def test_extremes_of_four_states(steps, ends):
    machines, question = clockworks(4, "3", steps)
    values = [exact_coefficient(m, question, steps).newton.value for m in machines.values()]
    assert (min(values), max(values)) == tuple(map(Fraction, ends))


def test_parity_re_reader_and_the_pair():
    parity = problem(strings("01", 2), lambda word: str(word.count("1") % 2))
    assert shown(library.parity_automaton(), parity) == "4 (1)"
    assert shown(library.re_reader(), library.reaches("a", 1)) == "1 (1)"
    for steps in (2, 3, 4, 5):
        assert shown(library.re_reader(), library.reaches("a", steps), steps) == f"{1 + Fraction(1, steps)} (1)"
    assert shown(library.m1(), library.reaches("a", 2)) == "7/2 (1)"
    assert shown(library.m2(), library.reaches("a", 2)) == "4 (1)"


def test_frozen_square_attains_the_bound():
    """b frozen: lambda_f = 1/t, which is d/(C + 1) with d = 1 and C = t - 1 corrected errors."""
    from dataclasses import replace

    machine = library.re_reader()
    machine = replace(machine, frozen=frozenset(e for e in machine.errors if e.state == "a"))
    assert machine.dim == 1
    assert shown(machine, library.reaches("a", 4), 4) == "1/4 (1)"


LONGEST = pytest.param(3, 5, marks=pytest.mark.slow)


@pytest.mark.parametrize(("length", "steps"), [*(place for place in DETECT_A if place != (3, 5)), LONGEST])
def test_detect_a(length, steps):
    question = library.contains_a(length, steps)
    degree = 4 if steps < 4 else 3
    values = [exact_coefficient(library.detect_a(), question, degree, s) for s in SEMANTICS]
    assert tuple(str(v.newton) for v in values) == DETECT_A[length, steps]
    assert values[0].degree == degree and all(v.stable for v in values if degree == 4)
    assert values[0].lambda_H == float(values[0].newton.value) / 2
    assert library.detect_a().dim == 30


@pytest.mark.parametrize("variant", VARIANTS)
def test_detect_a_variants(variant):
    machine = library.detect_a(variant)
    settings = [(2, 2), (2, 3), (3, 4)]
    found = [shown(machine, library.contains_a(*place), 3, s) for place in settings for s in SEMANTICS]
    assert tuple(found) == VARIANTS[variant]


def test_exact_twins_and_minimal_types():
    question = library.contains_a(2, 3)
    for degree in (2, 3, 4):
        assert shown(library.detect_a_twin(1), question, degree) == "19/2 (1)"
        assert shown(library.detect_a_twin(2), question, degree) == "10 (3)"
    machine = library.detect_a()
    assert named(machine, ideal(machine, library.contains_a(1, 2), 4)) == TYPES_1_2
    assert named(machine, ideal(machine, library.contains_a(2, 2), 4)) == TYPES_2_2


TYPES_1_2 = {
    ("A,acc:st>r",), ("B,r:st>acc",), ("_,r:st>acc",), ("A,r:st>r", "A,r:st>r"),
    *(("A,r:st>r", other) for other in ("A,r:dir>L", "A,r:dir>R", "A,r:sym>B", "A,r:sym>_")),
    *(("_,acc:st>r", other) for other in ("A,r:dir>L", "A,r:dir>R", "A,r:sym>_")),
    ("A,r:sym>B", "B,acc:st>r"), ("B,r:dir>S", "B,r:sym>A"),
}  # fmt: skip
TYPES_1_2 = {tuple(sorted(names)) for names in TYPES_1_2}
TYPES_2_2 = {
    ("A,acc:st>r",), ("B,r:st>acc",), ("A,r:st>r",), ("B,r:dir>S",), ("B,r:dir>L",), ("_,r:st>acc",),
    ("A,r:dir>L", "_,acc:st>r"), ("A,r:dir>R", "_,acc:st>r"), ("A,r:dir>R", "B,acc:st>r"),
    ("A,r:sym>B", "B,acc:st>r"), ("A,r:sym>_", "_,acc:st>r"),
}  # fmt: skip


def named(machine, types):
    return {tuple(sorted(str(machine.errors[v]) for v in monomial)) for monomial in types}


def test_parity_check_computes_its_function():
    machine = library.parity_check()
    assert machine.dim == 240
    for length, steps in ((1, 2), (2, 7), (3, 10), (4, 19), (5, 24), (6, 37)):
        library.balanced(length, steps).check(machine)
        assert not library.balanced(length, steps - 1).solved_by(machine)


def test_parity_check_values():
    machine = library.parity_check()
    assert shown(machine, library.balanced(1, 2), 4) == "20 (1)"
    assert [shown(machine, library.balanced(1, 3), d) for d in (2, 4)] == ["29 (1)", "33 (2)"]


@pytest.mark.slow
def test_parity_check_on_two_letters():
    machine, question = library.parity_check(), library.balanced(2, 7)
    assert shown(machine, question, 3) == "102 (2)"
    assert shown(machine, question, 4) == "102 (1)"
    assert shown(machine, library.balanced(1, 3), 5) == "33 (2)"
    assert [shown(machine, library.balanced(1, 4), d) for d in (3, 4)] == ["103/3 (1)"] * 2


def test_or_function_has_many_algorithms():
    question = library.word_function(library.WORD_FUNCTIONS["or"], 2)
    machines = {m.name: m for m in library.automata(3, question)}
    values = {name: shown(machine, question) for name, machine in machines.items()}
    assert Counter(values.values()) == {"6 (1)": 72, "8 (1)": 18, "9 (1)": 16, "10 (1)": 4}
    examples = {"01 11 00 | 0,1,1": 6, "01 11 00 | 0,1,0": 8, "12 10 00 | 1,0,1": 9, "12 02 22 | 0,0,1": 10}
    assert all(values[name] == f"{value} (1)" for name, value in examples.items())
    assert {m.dim for m in machines.values()} == {12}
    assert [(m.name, shown(m, question)) for m in library.automata(2, question)] == [("01 11 | 0,1", "4 (1)")]


def test_tuple_order_matters_in_staged_semantics_only():
    orders = {"listed": range(6), "reversed": range(5, -1, -1), "mixed": (4, 2, 5, 1, 3, 0)}
    machines = {name: library.detect_a().reordered(tuple(order)) for name, order in orders.items()}
    expected = {"listed": "10 (2)", "reversed": "19/2 (2)", "mixed": "19/2 (3)"}
    question = library.contains_a(2, 3)
    assert {name: shown(m, question, 3, "staged") for name, m in machines.items()} == expected
    assert {shown(m, question, 3, "unstaged") for m in machines.values()} == {"10 (2)"}
    assert {shown(m, library.contains_a(2, 2), 3, "staged").split()[0] for m in machines.values()} == {"8"}


@pytest.mark.slow
def test_an_order_with_a_low_coefficient():
    machine = library.detect_a().reordered((4, 2, 5, 1, 3, 0))
    assert shown(machine, library.contains_a(2, 4), 4, "staged").split()[0] == "31/4"


def random_machine(draw, letters="_AB", states="rs"):
    def pick(values):
        return values[draw.integers(len(values))]

    rules = tuple(Rule(s, q, pick(letters), pick(states), pick("SLR")) for s in letters for q in states)
    return Machine("random", tuple(letters), tuple(states), states[0], rules)


def own_problem(machine, length, steps):
    """The function that the machine computes."""
    from susceptometer.domains.programs.machine import run

    return problem(strings("AB", length), lambda word: run(machine, word, steps)[0], steps)


def test_two_algorithms_agree_and_bounds_hold(seed):
    """Syndromes by walking through runs, and ideals by algebra; lower and upper bounds of lambda_f."""
    from susceptometer.domains.programs.machine import run

    draw = np.random.default_rng(seed)
    for _ in range(5):
        machine = random_machine(draw)
        question = own_problem(machine, 2, 3)
        types = ideal(machine, question, 3)
        assert types == syndrome_types(machine, question, 3)
        last = {run(machine, word, 3)[1][-1].rule for word in question.words}
        for semantics in SEMANTICS:
            found = exact_coefficient(machine, question, 3, semantics)
            assert len(last) <= found.newton.value <= machine.dim / min(map(len, found.generators))


def test_renaming_leaves_the_coefficient(seed):
    draw = np.random.default_rng(seed)
    swap = {"_": "_", "A": "B", "B": "A", "r": "u", "s": "v"}
    for _ in range(2):
        machine = random_machine(draw)
        rules = tuple(Rule(*(swap.get(word, word) for word in rule[:4]), rule.move) for rule in machine.rules)
        other = Machine("renamed", ("_", "B", "A"), ("u", "v"), "u", rules)
        for semantics in SEMANTICS:
            first = exact_coefficient(machine, own_problem(machine, 2, 3), 3, semantics).newton
            second = exact_coefficient(other, own_problem(other, 2, 3), 3, semantics).newton
            assert (first.value, first.multiplicity) == (second.value, second.multiplicity)


def test_the_wrong_machine_is_refused():
    with pytest.raises(SubjectError, match="input 'AA' gives 'getNextB' after 1 steps") as caught:
        exact_coefficient(library.parity_check(), problem(("_", "AA"), lambda w: "accept", 1), 3)
    assert "loss at eps = 0 must vanish" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "steps"), [place for place in DETECT_A if place[1] > 3])
def test_detect_a_one_degree_higher(length, steps):
    values = [exact_coefficient(library.detect_a(), library.contains_a(length, steps), 4, s) for s in SEMANTICS]
    assert tuple(str(v.newton) for v in values) == DETECT_A[length, steps]
    assert all(v.stable for v in values)


def test_an_accepting_set_does_not_make_more_states_simpler():
    """One input, accepting set {1, 2}: 5/2, 7/3, 9/4 with three states against 3/2, 4/3, 5/4 with two."""
    from dataclasses import replace

    for steps, printed in ((2, "5/2"), (3, "7/3"), (4, "9/4")):
        question = library.reaches("yes", steps)
        labels = (("0", "no"), ("1", "yes"), ("2", "yes"))
        machines = [replace(library.clockwork("".join(c)), labels=labels) for c in product("012", repeat=3)]
        values = [threshold(ideal(m, question, steps)) for m in machines if question.solved_by(m)]
        assert min(values) == Fraction(printed)
        assert shown(library.re_reader(), library.reaches("a", steps), steps) == f"{1 + Fraction(1, steps)} (1)"


@pytest.mark.parametrize(("name", "longest", "least"), [
    ("parity", 2, 7), ("last", 2, 7), pytest.param("parity", 3, 8, marks=pytest.mark.slow),
    pytest.param("or", 3, 7, marks=pytest.mark.slow), pytest.param("last", 3, 8, marks=pytest.mark.slow),
])  # fmt: skip
def test_least_coefficients_of_three_state_automata(name, longest, least):
    """Exhaustive over tables and output maps; two states have 4 each."""
    question = library.word_function(library.WORD_FUNCTIONS[name], longest)
    values = {threshold(ideal(machine, question, longest)) for machine in library.automata(3, question)}
    assert min(values) == least
    assert {threshold(ideal(machine, question, longest)) for machine in library.automata(2, question)} == {4}


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_h_lies_between_f_squared_and_its_multiple(semantics, seed):
    """f² <= H <= f²/min q(x), so that lambda_H is half of lambda_f."""
    question = library.contains_a(2, 3)
    eps = 10.0 ** np.random.default_rng(seed).uniform(-8, -0.5, (30, 200)) / 2
    wrong = error_probabilities(library.detect_a(), question, eps, semantics)
    f, H = wrong.mean(0), (wrong**2).mean(0)
    assert (f**2 <= H * (1 + 1e-12)).all() and (len(question.words) * f**2 * (1 + 1e-12) >= H).all()
