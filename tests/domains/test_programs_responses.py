"""Susceptibilities of machines to their inputs: closed forms against quadrature, printed constants and chains."""

from dataclasses import replace

import numpy as np
import pytest

from susceptometer.domains.programs import free_energy, library
from susceptometer.domains.programs.corner import BOX, Sweeps, metropolis
from susceptometer.domains.programs.leading import input_response, square_of
from susceptometer.domains.programs.potential import Potential, error_probabilities
from susceptometer.domains.programs.problem import problem, strings
from susceptometer.domains.programs.responses import sampled_input_response, sampled_response, square_responses
from susceptometer.errors import DataError
from susceptometer.testbed import quadrature

PARITY = problem(strings("01", 2), lambda word: str(word.count("1") % 2))


def states_noisy():
    return replace(library.detect_a(), kinds=("st",), name="detectA, states noisy"), library.contains_a(2, 3)


def square_moments(machine, question, n_beta):
    """n E[f_x] and n² E[f_x f_z] of one square with one or two errors, by Gauss rules in their logarithms."""
    logs, weights = quadrature.gauss(-np.log(n_beta) - 25, 0.0, 60)
    line, line_weights = BOX * np.exp(logs), BOX * weights * np.exp(logs)
    if machine.dim == 1:
        eps, volume = line[None], line_weights
    else:
        first, share = np.meshgrid(line, line / BOX, indexing="ij")
        eps = np.stack([first.ravel(), ((BOX - first) * share).ravel()])
        volume = (line_weights[:, None] * line_weights / BOX * (BOX - line)[:, None]).ravel()
    wrong = error_probabilities(machine, question, eps)
    law = volume * np.exp(-n_beta * wrong.mean(0))
    law /= law.sum()
    return n_beta * wrong @ law, n_beta**2 * (wrong * law) @ wrong.T


def test_the_constant_of_the_partition_function():
    """M1 sqrt(pi)(1 - ln 2)/4 and M2 1/2, as printed; and the quadrature of Z at n = 1e8."""
    printed = {"M1": np.sqrt(np.pi) * (1 - np.log(2)) / 4, "M2": 0.5}
    for machine in (library.m1(), library.m2()):
        found = input_response(machine, library.reaches("a", 2))
        assert found.constant == pytest.approx(printed[machine.name], rel=1e-9)
        whole = free_energy.partition(machine.name, 1e8) * 1e8 ** float(found.value)
        assert found.constant == pytest.approx(whole, rel=2e-3)
        assert found.share == pytest.approx([float(found.value)])


def test_shares_of_the_parity_automaton_are_rational():
    """C = (2/3, 1/6, 2/3, 1/6) and counts of single errors by hand: l_x = sum_v n_x[v]/C_v."""
    found = input_response(library.parity_automaton(), PARITY)
    assert found.share == pytest.approx([3 / 2, 3 / 2, 3, 3, 15 / 2, 15 / 2])
    assert found.chi == pytest.approx([5 / 2, 5 / 2, 1, 1, -7 / 2, -7 / 2])
    assert found.covariance[4, 4] == pytest.approx(36 + 9 / 4)


@pytest.mark.parametrize("of", ["parity", "or", "detectA"])
def test_every_input_has_its_share_of_lambda(of):
    """sum_x q_x l_x = lambda, and Cov[f, f_x] is l_x once more: the sum over the other input."""
    machine, question = {
        "parity": (library.parity_automaton(), PARITY), "detectA": states_noisy(),
        "or": (library.automaton("or", ("12", "02", "22"), "001"), library.word_function(library.WORD_FUNCTIONS["or"], 2)),
    }[of]  # fmt: skip
    found = input_response(machine, question)
    assert found.share.mean() == pytest.approx(float(found.value), rel=1e-9)
    assert found.covariance.mean(1) == pytest.approx(found.share, rel=1e-9)
    assert np.linalg.eigvalsh(found.covariance)[0] > -1e-9


def test_squares_of_detect_a_against_quadrature():
    machine, question = library.detect_a(), library.contains_a(2, 3)
    exact = square_responses(machine, question)
    assert exact.squares == ("_,r:sym", "_,r:st", "A,r:st", "A,acc:st", "B,r:st", "B,r:dir")
    assert exact.value.tolist() == [1, 1, 0.5, 1, 1, 1.5] and not exact.undecided
    for name, value, share, chi in zip(exact.squares, exact.value, exact.share, exact.within_run, strict=True):
        mean, square = square_moments(square_of(machine, name), question, 1e10)
        covariance = square.mean(0) - mean.mean() * mean
        assert mean == pytest.approx(share, abs=1e-3 * value)
        assert -(covariance - covariance.mean()) == pytest.approx(chi, abs=3e-3 * value)


def test_the_two_run_form_beside_its_definition():
    """-(E_C[g f_x] - E_C[g] E_F[f_x]) by quadrature of C and the closed form of F; it is not the within-run value."""
    machine = library.parity_automaton()
    exact, full = square_responses(machine, PARITY), input_response(machine, PARITY)
    for row, name in enumerate(exact.squares):
        mean, square = square_moments(square_of(machine, name), PARITY, 1e7)
        joint = square.mean(0) - square.mean()
        direct = -(joint - mean.mean() * (full.share - float(full.value)))
        assert exact.two_run(full)[row] == pytest.approx(direct, abs=2e-2)
    assert np.abs(exact.two_run(full) - exact.within_run).max() > 1


def test_sampled_against_exact(seed):
    for machine, question in ((library.parity_automaton(), PARITY), states_noisy()):
        exact = input_response(machine, question)
        found = sampled_input_response(machine, question, 1e6, Sweeps(200, 200), seed=seed)
        assert np.abs((found.share - exact.share) / found.share_error).max() < 5
        assert np.abs((found.chi - exact.chi) / found.chi_error).max() < 5
        assert np.abs((found.chi - exact.chi[::-1]) / found.chi_error).max() > 10  # planted: inputs in another order


def test_exchanging_the_letters_permutes_parity_check():
    from susceptometer.reproduce.program_responses import exchanged

    exact = square_responses(library.parity_check(), library.balanced(2, 7))
    assert len(exact.squares) == 24 and exact.undecided == ("B,getNextA:dir", "A,getNextB:dir")
    assert exchanged(exact) == pytest.approx(exact.within_run, abs=1e-12)
    assert np.abs(exchanged(exact, inputs=False) - exact.within_run).max() > 1


def test_harmless_squares_and_what_has_no_closed_form():
    machine, question = library.detect_a(), library.contains_a(2, 3)
    nothing = input_response(square_of(machine, "_,acc:sym"), question)
    assert nothing.value == 0 and not nothing.share.any()
    with pytest.raises(DataError, match="m = 3"):
        input_response(library.clockwork("222"), library.reaches("2", 3))
    with pytest.raises(DataError, match="errors of order one"):
        input_response(library.automaton("or", ("01", "11", "00"), "011"), library.word_function(lambda w: "1" in w, 2))
    with pytest.raises(DataError, match="no such noisy square"):
        square_of(machine, "A,r:colour")
    run = metropolis(Potential(library.m1(), library.reaches("a", 2)), 1e4, Sweeps(40, 9), seed=0)
    with pytest.raises(DataError, match="no losses of inputs"):
        sampled_response(run)
