"""Noisy machines run three ways: printed probabilities, the universal machine, polynomials, syndromes, derivatives."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch
from sympy import symbols
from sympy.polys.rings import PolyElement

from susceptometer.domains.programs import library
from susceptometer.domains.programs.exact import ExactRun
from susceptometer.domains.programs.laws import numeric, polynomials
from susceptometer.domains.programs.machine import Error, Machine, run
from susceptometer.domains.programs.naive import naive_run
from susceptometer.domains.programs.potential import (
    Potential,
    error_probabilities,
    gradients_at_corner,
    hessian_at_corner,
    output_law,
)
from susceptometer.domains.programs.problem import Problem, problem, strings
from susceptometer.domains.programs.syndromes import coefficient, counts, hessian
from susceptometer.domains.programs.universal import pseudo_universal, steps_per_cycle
from susceptometer.errors import DataError, SubjectError

PRINTED = {  # (e, input, t): P(accept) exact, unstaged, staged
    (0.01, "B", 2): (0.019897020000, 0.019897020000, 0.019800018830),
    (0.01, "BA", 3): (0.979827336672, 0.988068122789, 0.985049038325),
    (0.01, "BBA", 4): (0.970342625436, 0.980788454452, 0.946455451754),
    (0.01, "AB", 3): (0.988868359690, 0.989213807410, 0.989602658802),
    (0.1, "B", 2): (0.187200000000, 0.187200000000, 0.180106336486),
    (0.1, "BA", 3): (0.801942400000, 0.809926432768, 0.761298704796),
    (0.1, "BBA", 4): (0.755680953600, 0.712267971929, 0.540259332944),
    (0.1, "AB", 3): (0.835272000000, 0.843173769728, 0.869845333477),
}
SEMANTICS = ("exact", "unstaged", "staged")


@pytest.mark.parametrize(("e", "word", "steps"), PRINTED)
def test_printed_probabilities(e, word, steps):
    machine, eps = library.detect_a(), np.full((30, 1), e)
    question = Problem((word,), ("acc",), (steps,))
    found = [output_law(machine, question, eps, s)[1, 0, 0] for s in SEMANTICS]
    assert np.allclose(found, PRINTED[e, word, steps], rtol=0, atol=1e-11)


def test_staged_marginals_after_one_step():
    machine = library.detect_a()
    from susceptometer.domains.programs.naive import NaiveState, naive_step

    description = numeric(machine, np.full(30, 0.1))
    one = description.one
    start = NaiveState({"r": one}, {0: {"B": one}, 1: {"A": one}})
    here = naive_step(description, start, 4, staged=True)
    assert np.allclose([here.state["r"], here.state["acc"]], [0.9, 0.1])
    expected = {-1: (0.28, 0.08, 0.64), 0: (0.11, 0.81, 0.08), 1: (0.81, 0.11, 0.08), 2: (0.9, 0.1, 0)}
    for u, law in expected.items():
        assert np.allclose([here.tape[u].get(s, 0) for s in "_AB"], law)
    after_two = [naive_run(description, ["BA"], 2, staged=s)["acc"] for s in (True, False)]
    assert np.allclose(after_two, [0.661463537304, 0.7632], atol=1e-12)


def test_smooth_universal_machine_equals_the_staged_formula(seed):
    machine = library.detect_a()
    assert steps_per_cycle(machine) == 65
    draw = np.random.default_rng(seed)
    for word in ("BA", "AB", "B"):
        eps = draw.uniform(0, 0.2, 30)
        smooth = pseudo_universal(machine, eps, word, 3)
        for cycle in (1, 2, 3):
            for _ in range(65):
                smooth.step()
            assert smooth.law.max() == pytest.approx(1, abs=1e-12)
            law = naive_run(numeric(machine, eps), [word], cycle, staged=True)
            expected = [float(law.get(q, 0)) for q in machine.states]
            assert np.allclose(smooth.tapes[2].scanned, expected, rtol=0, atol=1e-12)


def test_universal_machine_without_noise_simulates_the_machine():
    machine = library.m2()
    smooth = pseudo_universal(machine, np.zeros(machine.dim), "", 2)
    for _ in range(2 * steps_per_cycle(machine)):
        smooth.step()
    assert np.array_equal(smooth.tapes[2].scanned, [0, 0, 1])


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_laws_sum_to_one_and_inputs_share_a_pass(semantics, seed):
    machine, question = library.detect_a(), library.contains_a(2, 3)
    eps = np.random.default_rng(seed).uniform(0, 0.1, (30, 4))
    law = output_law(machine, question, eps, semantics)
    assert np.allclose(law.sum(0), 1, rtol=0, atol=1e-13)
    wrong = error_probabilities(machine, question, eps, semantics)
    for row in range(len(question.words)):
        states = [machine.states.index(q) for q in question.wrong_states(machine, row)]
        assert np.allclose(law[states, row].sum(0), wrong[row], rtol=0, atol=1e-14)


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_relative_precision_far_into_the_corner(semantics):
    """Along eps = s * direction f is f'(0) s to relative precision, down to s = 1e-200."""
    machine, question = library.detect_a(), library.contains_a(2, 2)
    slope = gradients_at_corner(machine, question, semantics).mean(0).sum()
    for s in (1e-12, 1e-200):
        value = error_probabilities(machine, question, np.full(30, s), semantics).mean()
        assert value == pytest.approx(slope * s, rel=1e-10)


def text_of(polynomial, names):
    return polynomial.as_expr(*symbols(names)) if isinstance(polynomial, PolyElement) else polynomial


def test_polynomials_of_the_small_machines():
    parity = library.parity_automaton()
    names = ["a", "c", "b", "e"]  # errors come tuple by tuple: (0,E) (1,E) (0,O) (1,O)
    expected = {
        "0": "a",
        "1": "c",
        "00": "2*a-a**2-a*b",
        "01": "a+c-a*c-a*e",
        "10": "b+c-a*c-b*c",
        "11": "c+e-c**2-c*e",
    }
    for word, text in expected.items():
        wrong = str(1 - word.count("1") % 2)
        found = ExactRun(polynomials(parity, names), [wrong]).weight(word, len(word))
        assert (found.as_expr() - symbolic(text)).expand() == 0
    reader = ["a", "a**2+b-a*b", "a**3-2*a**2*b+a*b**2+a*b-b**2+b"]
    for steps, text in enumerate(reader, start=1):
        found = ExactRun(polynomials(library.re_reader(), ["a", "b"]), ["r"]).weight("", steps)
        assert (found.as_expr() - symbolic(text)).expand() == 0
    pair = {
        "m1": "a1**2+a1*a2-a1*b1-a1*b2-a2*b1-a2*b2-a2*c2+a2+b1+b2",
        "m2": "a1+c1+c2-a1*a2-a1*c1-a1*c2+a2*b1+a2*b2-a2*c1-a2*c2",
    }
    for name, text in pair.items():
        machine = getattr(library, name)()
        found = ExactRun(polynomials(machine, ["a1", "a2", "c1", "c2", "b1", "b2"]), ["r", "s"]).weight("", 2)
        assert (found.as_expr() - symbolic(text)).expand() == 0


def symbolic(text):
    from sympy import sympify

    return sympify(text, locals={name: symbols(name) for name in ("a", "b", "c", "e")})


def test_taylor_coefficients_count_syndromes():
    """All inputs of length <= 3, all types of degree <= 4: polynomial against signed counts of runs."""
    machine = library.parity_automaton()
    question = problem(strings("01", 3), lambda word: str(word.count("1") % 2))
    compared = 0
    for row, word in enumerate(question.words):
        found = ExactRun(polynomials(machine), question.wrong_states(machine, row)).weight(word, len(word))
        for degree in (1, 2, 3, 4):
            for monomial in combinations_with_replacement(range(4), degree):
                exponents = tuple(monomial.count(v) for v in range(4))
                assert found.get(exponents, 0) == coefficient(machine, question, row, monomial)
                compared += exponents in found
    assert compared > 60


def test_taylor_coefficients_of_a_machine_with_symbols_and_moves():
    machine, question = library.detect_a(), Problem(("BA",), ("acc",), (2,))
    found = ExactRun(polynomials(machine), ["r"]).weight("BA", 2)
    for exponents, value in found.terms():
        monomial = tuple(v for v, k in enumerate(exponents) for _ in range(k))
        assert value == coefficient(machine, question, 0, monomial)


def test_parity_counts_and_hessian():
    machine = library.parity_automaton()
    question = problem(strings("01", 2), lambda word: str(word.count("1") % 2))
    table = counts(machine, question)[:, [0, 2, 1, 3]]  # in the order a, b, c, e
    assert table.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [2, 0, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    third = 1 / 3
    expected = [[2, 0, third, 0], [0, third, third, 0], [third, third, 4 * third, third], [0, 0, third, third]]
    assert np.allclose(hessian(table), expected)
    assert np.allclose(np.linalg.eigvalsh(hessian(table))[::-1], [2.158065, 1.370894, 0.333333, 0.137708], atol=1e-6)


FIRST_ORDER = {  # (L, t, semantics): counts summed over inputs, eigenvalues of Hess H
    (2, 2, "exact"): ("A,acc:st>r 3; B,r:st>acc 3; A,r:st>r 1; B,r:dir>S 1; B,r:dir>L 1; _,r:st>acc 1",
                      (1.745356, 1, 1, 0.254644)),
    (2, 2, "staged"): ("A,acc:st>r 3; B,r:st>acc 4; A,r:st>r 1; B,r:dir>S 2; B,r:dir>L 1; _,r:st>acc 1",
                       (2.838970, 1.242336, 1, 0.252027)),
    (2, 3, "exact"): ("A,acc:st>r 4; B,r:st>acc 3; _,r:st>acc 3; _,r:sym>A 1; B,r:dir>L 1",
                      (3.177043, 1.434259, 0.489624, 0.232408)),
    (2, 3, "staged"): ("A,acc:st>r 4; B,r:st>acc 3; _,r:st>acc 3; _,r:sym>A 1", (3.177043, 1.333333, 0.489624)),
    (3, 4, "exact"): ("A,acc:st>r 11; B,r:st>acc 6; _,r:st>acc 6; B,r:dir>L 5; _,r:sym>A 3",
                      (3.897418, 2.055024, 0.816867, 0.516405)),
    (3, 4, "staged"): ("A,acc:st>r 11; B,r:st>acc 6; _,r:st>acc 6; _,r:sym>A 4",
                       (4.352634, 1.571429, 1.065882, 0.010055)),
}  # fmt: skip
FIRST_ORDER |= {
    (2, 2, "unstaged"): FIRST_ORDER[2, 2, "exact"],
    (2, 3, "unstaged"): FIRST_ORDER[2, 3, "staged"],
    (3, 4, "unstaged"): FIRST_ORDER[3, 4, "staged"],
}


@pytest.mark.parametrize(("length", "steps", "semantics"), FIRST_ORDER)
def test_first_order_counts_and_spectrum_of_detect_a(length, steps, semantics):
    machine, question = library.detect_a(), library.contains_a(length, steps)
    table = gradients_at_corner(machine, question, semantics) if semantics != "exact" else counts(machine, question)
    text, spectrum = FIRST_ORDER[length, steps, semantics]
    expected = {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in text.split("; ")}
    found = {str(e): round(c) for e, c in zip(machine.errors, table.sum(0), strict=True) if c}
    assert found == expected
    values = np.linalg.eigvalsh(hessian(table))[::-1]
    assert np.allclose(values[: len(spectrum)], spectrum, atol=1e-5)
    assert np.abs(values[len(spectrum) :]).max() < 1e-9


def test_spectra_of_the_variants():
    question = library.contains_a(3, 4)
    spectra = {
        v: np.linalg.eigvalsh(hessian(gradients_at_corner(library.detect_a(v), question, "staged")))[::-1]
        for v in range(4)
    }
    for v in (0, 1, 2):
        assert np.allclose(spectra[v][:4], [4.352634, 1.571429, 1.065882, 0.010055], atol=1e-5)
    assert np.allclose(spectra[3][:4], [9.6515, 1.5714, 0.6323, 0.0019], atol=1e-4)
    ranks = [
        np.linalg.matrix_rank(gradients_at_corner(library.detect_a(v), library.contains_a(*place), "staged"))
        for v in range(4)
        for place in ((2, 2), (2, 3))
    ]
    assert ranks == [4, 3, 6, 3, 6, 3, 4, 3]
    twins = [hessian(counts(library.detect_a_twin(n), library.contains_a(2, 3))) for n in (1, 2)]
    assert np.allclose(np.linalg.eigvalsh(twins[0])[:-5:-1], [4.3930, 3.1770, 0.6070, 0.4896], atol=1e-4)
    assert np.linalg.matrix_rank(twins[1]) == 6


def test_parity_check_has_69_first_order_directions():
    table = counts(library.parity_check(), library.balanced(2, 7))
    assert (table.sum(0) > 0).sum() == 69
    assert np.linalg.matrix_rank(hessian(table)) == 6


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_derivatives_by_autograd_by_complex_step_and_by_counting(semantics):
    machine, question = library.detect_a(), library.contains_a(2, 2)
    gradient = gradients_at_corner(machine, question, semantics)
    step = 1e-20j * np.eye(30)
    assert np.allclose(error_probabilities(machine, question, step, semantics).imag / 1e-20, gradient, atol=1e-12)
    assert np.allclose(hessian_at_corner(machine, question, semantics), hessian(gradient), atol=1e-12)
    if semantics == "exact":
        assert np.array_equal(gradient, counts(machine, question))


def test_gradient_inside_the_corner_against_differences(seed):
    machine, question = library.m1(), library.reaches("a", 2)
    potential = Potential(machine, question, "K0")
    point = torch.tensor(np.random.default_rng(seed).uniform(0, 0.2, 6))
    assert torch.autograd.gradcheck(potential, point.requires_grad_())


def test_spot_values_of_the_potentials():
    machine, question = library.re_reader(), library.reaches("a", 2)
    eps = np.array([0.1, 0.05])
    expected = {"f": 0.055, "H": 0.003025, "K0": 0.0565703515, "Keta": 0.0164294970}
    found = {form: float(Potential(machine, question, form)(eps)) for form in expected}
    assert found == pytest.approx(expected, abs=5e-11)
    tiny = [float(Potential(machine, question, "Keta")(np.array([0.0, s]))) / s**2 for s in (1e-4, 1e-6)]
    assert tiny[0] == pytest.approx(tiny[1], rel=1e-2)  # K_eta is quadratic in f: no cancellation left


def test_machines_are_checked_and_stored():
    machine = library.parity_check()
    assert Machine.from_json(machine.to_json()) == machine
    frozen = library.parity_automaton()
    assert Machine.from_json(frozen.to_json()) == frozen and frozen.dim == 4
    assert str(machine.errors[0]) == "_,getNextAB:sym>A" and machine.index[machine.errors[7]] == 7
    with pytest.raises(SubjectError, match="one tuple per"):
        Machine("half", ("_", "A"), ("r",), "r", machine.rules[:1])
    with pytest.raises(SubjectError, match="unknown symbol"):
        Machine("bad", ("_",), ("r",), "r", (machine.rules[0]._replace(state="r"),))
    with pytest.raises(DataError, match="no problem"):
        Problem((), (), ())


def test_runs_with_planted_errors():
    machine = library.detect_a()
    state, history = run(machine, "BA", 3)
    assert state == "acc" and [step.rule.symbol for step in history] == ["B", "A", "A"]
    assert run(machine, "BA", 3, {0: {"dir": "L"}})[0] == "r"
    assert Error("B", "r", "dir", "L") in machine.errors
