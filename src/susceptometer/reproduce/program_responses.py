"""Claims about susceptibilities of machines (snikkers2026): what a machine and its squares answer to, exactly."""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from susceptometer.domains.programs import library, pictures
from susceptometer.domains.programs.corner import Sweeps
from susceptometer.domains.programs.leading import input_response, square_of
from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.problem import Problem, problem, strings
from susceptometer.domains.programs.responses import (
    SampledResponse,
    SquareResponses,
    sampled_input_response,
    square_responses,
)
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.testbed.form import Array

N_BETA = 1e6
"""Terms beyond the leading one are of relative size n^-1/2 at most here."""

LENGTH = {"smoke": Sweeps(100, 120), "cpu": Sweeps(300, 300), "gpu": Sweeps(400, 1200)}
LIMIT = 4.0
"""Standard errors allowed for the largest of some dozen numbers."""

EXCHANGED = str.maketrans("AB", "BA")


def whole_machines() -> list[tuple[Machine, Problem]]:
    """Machines with several inputs whose leading term is known in closed form."""
    parity = problem(strings("01", 2), lambda word: str(word.count("1") % 2))
    contains = library.word_function(library.WORD_FUNCTIONS["or"], 2)
    states = replace(library.detect_a(), kinds=("st",), name="detectA, states noisy")
    return [
        (library.parity_automaton(), parity),
        (library.automaton("or, 2 states", ("01", "11"), "01"), contains),
        (library.automaton("or, 12 10 00", ("12", "10", "00"), "101"), contains),
        (library.automaton("or, 12 02 22", ("12", "02", "22"), "001"), contains),
        (states, library.contains_a(2, 3)),
    ]


def detect_a_squares() -> tuple[Machine, Problem]:
    """The machine whose squares are sampled one by one."""
    return library.detect_a(), library.contains_a(2, 3)


def sampled(setting: Setting, machine: Machine, question: Problem) -> SampledResponse:
    """Kept cell of one run."""

    def make() -> Arrays:
        found = sampled_input_response(machine, question, N_BETA, LENGTH[setting.scale], seed=setting.seed)
        return {"rows": np.stack([found.share, found.share_error, found.chi, found.chi_error])}

    squares = "+".join(machine.simplices) if len(machine.simplices) == 1 else ""
    name = "".join(c if c.isalnum() else "-" for c in f"{machine.name} {squares} {len(question.words)}")
    return SampledResponse(*setting.kept(f"responses/{name}", make)["rows"])


def response_claims(setting: Setting) -> list[Claim]:
    """Whole machines, single squares, symmetry and paths."""
    return [whole_claim(setting), square_claim(setting), symmetry_claim()]


def whole_claim(setting: Setting) -> Claim:
    """All errors move: exact limits of n² chi_x beside sampled values."""
    scores, wrong, shown = [], [], []
    for machine, question in whole_machines():
        exact, found = input_response(machine, question), sampled(setting, machine, question)
        scores += [(found.share - exact.share) / found.share_error, (found.chi - exact.chi) / found.chi_error]
        wrong.append(np.abs((found.chi - np.roll(exact.chi, 1)) / found.chi_error).max())
        values = zip(question.words, exact.chi + 0.0, found.chi, strict=True)
        words = ", ".join(f"{word} {value:.3g}/{got:.2f}" for word, value, got in values)
        shown.append(f"{machine.name} (lambda {exact.value}): {words}")
    z = np.concatenate(scores)
    return Claim(
        "Susceptibility of a machine's loss to more weight on one input: n² chi_x = -(l_x - lambda) with l_x = lim n "
        "E[f_x], whose mean is lambda; the coefficient itself does not move",
        "in closed form from the leading term of the partition function (derived)",
        f"exact/sampled n² chi by input: {'; '.join(shown)}; largest |z| of {len(z)} numbers {np.abs(z).max():.1f}",
        "agrees" if np.abs(z).max() < LIMIT else "differs",
        f"inputs moved by one place: every machine has an input at least {min(wrong):.0f} errors off",
    )


def square_claim(setting: Setting) -> Claim:
    """One square moves: detectA."""
    machine, question = detect_a_squares()
    exact = square_responses(machine, question)
    found = [sampled(setting, square_of(machine, name), question) for name in exact.squares]
    chi, error = np.array([one.chi for one in found]), np.array([one.chi_error for one in found])
    z = (chi - exact.within_run) / error
    wrong = np.abs((chi - np.roll(exact.within_run, 1, axis=1)) / error).max(1)
    return Claim(
        "Every square of the description answers to the inputs on whose path it is read and not corrected, and to no "
        "other (detectA, strings of length <= 2, 3 steps)",
        "squares and inputs group by path (snikkers2026, no number); exact values derived",
        f"{len(exact.squares)} of {len(machine.simplices)} squares can do harm; worked for (n² chi < 0): "
        f"{_answers(exact)}; sampled: largest |z| of {z.size} values {np.abs(z).max():.1f}",
        "agrees" if np.abs(z).max() < LIMIT and not exact.undecided else "differs",
        f"inputs moved by one place: every square at least {wrong.min():.0f} errors off somewhere",
    )


def _answers(exact: SquareResponses) -> str:
    lines = []
    for name, row in zip(exact.squares, exact.within_run, strict=True):
        mine = [f"{word} {value:.3g}" for word, value in zip(exact.words, row, strict=True) if value < -1e-9]
        lines.append(f"{name} for {', '.join(mine)}")
    return "; ".join(lines)


def symmetry_claim() -> Claim:
    """parityCheck: exchanging the letters, and few directions."""
    exact = square_responses(library.parity_check(), library.balanced(2, 7))
    other = exchanged(exact)
    here = exact.within_run
    directions = {tuple(np.round(row / row.sum(), 6)) for row in exact.share}
    return Claim(
        "Symmetries of a machine permute its susceptibilities, and squares on one path share a direction (parityCheck, "
        "length <= 2, 7 steps)",
        "symmetries permute, separate paths give low-rank blocks (snikkers2026, abstract)",
        f"{len(here)} of 96 squares can do harm and have a closed form ({len(exact.undecided)} have none); exchanging "
        f"A and B in squares and inputs changes them by {np.abs(here - other).max():.0e}; they lie along "
        f"{len(directions)} directions of inputs",
        "agrees" if np.abs(here - other).max() < 1e-9 and len(directions) < len(here) else "differs",
        f"squares exchanged, inputs not: {np.abs(here - exchanged(exact, inputs=False)).max():.1f}",
    )


def exchanged(exact: SquareResponses, *, inputs: bool = True) -> Array:
    """n² chi_w with A and B exchanged in the names of squares and, if asked for, in the inputs."""
    names = [name.translate(EXCHANGED).replace("getNextBA", "getNextAB") for name in exact.squares]
    rows = [exact.squares.index(name) for name in names]
    words = [exact.words.index(word.translate(EXCHANGED)) for word in exact.words]
    return exact.within_run[rows][:, words] if inputs else exact.within_run[rows]


def response_figures(setting: Setting) -> dict[str, Figure]:
    """Exact against sampled, and two maps of squares by inputs."""
    rows = []
    for machine, question in whole_machines():
        exact, found = input_response(machine, question), sampled(setting, machine, question)
        rows.append((machine.name, exact.chi, found.chi, found.chi_error))
    machine, question = detect_a_squares()
    table = square_responses(machine, question)
    paths = square_responses(library.parity_check(), library.balanced(2, 7))
    return {
        "Susceptibility n² chi_x of a machine's mean loss to more weight on input x: exact limit and sampled values, "
        "three standard errors.": pictures.exact_against_sampled_response(rows),
        "detectA (strings of length up to 2, 3 steps): n² chi of every square that can do harm. Blue: the square works "
        "for the input; orange: the input does not need it.": pictures.response_map(
            table.squares, table.words, table.within_run
        ),
        "parityCheck (length up to 2, 7 steps): the same. Exchanging A and B maps the picture to itself.":
            pictures.response_map(paths.squares, paths.words, paths.within_run),
    }  # fmt: skip
