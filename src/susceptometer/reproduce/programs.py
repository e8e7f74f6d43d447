"""Claims of murfet2025 on machines whose learning coefficient is a rational number found by a linear program."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement, pairwise

import numpy as np

from susceptometer.domains.programs import library
from susceptometer.domains.programs.exact import ExactRun
from susceptometer.domains.programs.ideal import exact_coefficient
from susceptometer.domains.programs.laws import numeric, polynomials
from susceptometer.domains.programs.naive import naive_run
from susceptometer.domains.programs.potential import gradients_at_corner, hessian_at_corner
from susceptometer.domains.programs.problem import problem, strings
from susceptometer.domains.programs.syndromes import coefficient, counts, hessian
from susceptometer.domains.programs.universal import pseudo_universal, steps_per_cycle
from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce import program_runs as runs
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.program_figures import program_figures
from susceptometer.reproduce.program_responses import response_claims
from susceptometer.reproduce.program_search import search_claims
from susceptometer.reproduce.program_variants import variant_claims
from susceptometer.reproduce.registry import Reproduction
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.rng import stream_seed


def run(setting: Setting) -> Sequence[Claim]:
    """All claims, the exact ones first."""
    claims = [universal_claim(setting), syndrome_claim(), hessian_claim(), bound_claim()]
    claims += [*sampled_claims(setting), preference_claim(setting), smoothed_claim(setting)]
    claims += [*semantics_claims(setting), *response_claims(setting), *toolkit_claims(setting)]
    claims += [*search_claims(setting), *variant_claims(setting)]
    return claims


def universal_claim(setting: Setting) -> Claim:
    """Direct simulation against the smooth pseudo-universal machine."""
    machine, worst, other = library.detect_a(), 0.0, 0.0
    draw = np.random.default_rng(stream_seed(setting.seed, "programs", "universal"))
    for word in ("BA", "AB", "B"):
        eps = draw.uniform(0, 0.2, machine.dim)
        smooth = pseudo_universal(machine, eps, word, 3)
        for cycle in (1, 2, 3):
            for _ in range(steps_per_cycle(machine)):
                smooth.step()
            laws = [naive_run(numeric(machine, eps), [word], cycle, staged=s) for s in (True, False)]
            gaps = [abs(float(law["acc"]) - smooth.tapes[2].scanned[1]) for law in laws]
            worst, other = max(worst, gaps[0]), max(other, gaps[1])
    return Claim(
        "The smooth pseudo-universal machine computes what direct (staged) simulation computes; detectA, random noise "
        "up to 0.2, three simulated steps",
        "equal (clift2018; 10 N + 5 machine steps each)", f"largest difference in P(accept) {worst:.0e}",
        _verdict(worst < 1e-12), f"unstaged simulation differs by up to {other:.2f}",
    )  # fmt: skip


def syndrome_claim() -> Claim:
    """Taylor coefficients as signed counts of error syndromes."""
    machine = library.parity_automaton()
    question = problem(strings("01", 3), lambda word: str(word.count("1") % 2))
    same = unsigned = present = total = 0
    for row, word in enumerate(question.words):
        found = ExactRun(polynomials(machine), question.wrong_states(machine, row)).weight(word, len(word))
        for degree in (1, 2, 3, 4):
            for monomial in combinations_with_replacement(range(4), degree):
                value = found.get(tuple(monomial.count(v) for v in range(4)), 0)
                count = coefficient(machine, question, row, monomial)
                total, same = total + 1, same + (value == count)
                unsigned, present = unsigned + (0 != value == abs(count)), present + (value != 0)
    return Claim(
        "Taylor coefficients of the loss at the machine are weighted counts of error syndromes",
        "all (murfet2025)", f"{same} of {total} coefficients of the parity automaton, 14 inputs, degree <= 4",
        _verdict(same == total), f"with signs dropped {unsigned} of the {present} non-zero ones agree",
    )  # fmt: skip


def hessian_claim() -> Claim:
    """Control flow shapes the Hessian."""
    machine, question = library.detect_a(), library.contains_a(2, 2)
    table = counts(machine, question)
    gap = np.abs(hessian_at_corner(machine, question) - hessian(table)).max()
    spectra = [
        np.linalg.eigvalsh(hessian(gradients_at_corner(library.detect_a(v), library.contains_a(3, 4), "staged")))
        for v in (0, 3, 1)
    ]  # fmt: skip
    tops = [f"{s[-1]:.3f}" for s in spectra]
    values = [
        exact_coefficient(library.detect_a(v), library.contains_a(3, 4), 3, "staged").newton.value for v in (0, 3)
    ]
    return Claim(
        "Control flow shapes the Hessian: entries only between errors that one input meets; machines of one function "
        "can share the coefficient and differ in the spectrum",
        "murfet2025; Hess H = 2 E[n n'] with n the counts of single errors (derived)",
        f"autograd and single-error counts differ by {gap:.0e}; V0 and V3 have coefficients "
        f"{values[0]} and {values[1]} and largest eigenvalues {tops[0]} and {tops[1]}",
        _verdict(gap < 1e-12 and values[0] == values[1] and abs(spectra[0][-1] - spectra[1][-1]) > 1),
        f"V1, other control flow with the same single-error counts as V0: largest eigenvalue {tops[2]}",
    )  # fmt: skip


def bound_claim() -> Claim:
    """lambda_H <= d / (2 (C + 1)) for machines that correct all errors of weight <= C."""
    rows = [
        (exact_coefficient(case.machine, case.problem, case.degree, case.semantics), case.machine.dim)
        for case in runs.cases("cpu") if case.form == "f" and case.machine.dim < 30
    ]  # fmt: skip
    slack = [dim / min(map(len, e.generators)) - e.lambda_f for e, dim in rows]
    return Claim(
        "A machine that corrects all syndromes of weight <= C has lambda_H <= d/(2(C+1))",
        "bound (murfet2025)",
        f"holds for all {len(rows)} machines (smallest slack in lambda_f {min(slack):.2f}); attained with the "
        "accepting square frozen: d = 1, C = t - 1, lambda_f = 1/t (tests)",
        _verdict(min(slack) >= 0),
        f"C = 0 for {sum(min(map(len, e.generators)) == 1 for e, _ in rows)} of them: the last read is not corrected",
    )  # fmt: skip


def sampled_claims(setting: Setting) -> list[Claim]:
    """E1: sampled beside exact, and one function with two coefficients."""
    cells = [(case, runs.sampled(setting, case)) for case in runs.cases(setting.scale)]
    scores = [_score(case, cell) for case, cell in cells]
    null = runs.renamed(setting)
    first = cells[0][1]
    gap = null["sampled"][0] - first["sampled"][0]
    error = float(np.hypot(null["sampled"][1], first["sampled"][1]))
    worst = int(np.argmax(np.abs(scores)))
    listed = "; ".join(_line(case, cell) for case, cell in cells)
    return [
        Claim(
            f"Sampled learning coefficients of {len(cells)} cases on the corner equal the exact rational ones",
            "exact value by linear program, with (m - 1)/log n; limit 3 errors, and 0.003 to 0.05 for the next powers",
            f"{sum(abs(z) < 3 for z in scores)} of {len(cells)} within it, largest |z| {abs(scores[worst]):.1f} "
            f"({cells[worst][0].machine.name}): {listed}",
            _verdict(max(map(abs, scores)) < 3.5),
            f"M1 under other names, other stream: difference {format_pm(gap, error)}",
        ),
        _separation(cells),
    ]  # fmt: skip


def _score(case: runs.Case, cell: Arrays) -> float:
    """(sampled - corrected exact) over the error; the allowance is subtracted from the size of the gap."""
    gap = cell["sampled"][0] - cell["exact"][2]
    return float(np.sign(gap) * max(0.0, abs(gap) - case.tolerance) / cell["sampled"][1])


def _line(case: runs.Case, cell: Arrays) -> str:
    value, multiplicity, target = cell["exact"]
    mark = f" (m {multiplicity:.0f}: {target:.3f})" if multiplicity > 1 else ""
    sampled = format_pm(cell["sampled"][0], cell["sampled"][1])
    name = case.machine.name if case.form == "f" else f"{case.machine.name} H"
    return f"{name} {Fraction(float(value)).limit_denominator(1000)}{mark} {sampled}"


def _separation(cells: Sequence[tuple[runs.Case, Arrays]]) -> Claim:
    functions: dict[str, list[Arrays]] = defaultdict(list)
    for case, cell in cells:
        functions[case.function].append(cell)
    gaps = {}
    for function, members in functions.items():
        members.sort(key=lambda cell: cell["exact"][2])
        steps = [
            (b["sampled"][0] - a["sampled"][0]) / np.hypot(a["sampled"][1], b["sampled"][1])
            for a, b in pairwise(members) if b["exact"][2] - a["exact"][2] > 0.1
        ]  # fmt: skip
        if steps:
            gaps[function] = min(steps)
    least = min(gaps, key=lambda name: gaps[name])
    return Claim(
        "Same function, different algorithm: machines of equal input and output have different learning coefficients, "
        "so the posterior tells them apart",
        "different geometry (murfet2025)",
        f"{len(gaps)} functions; neighbours whose exact values differ by more than 0.1 lie at least "
        f"{gaps[least]:.1f} errors apart ({least}), in the exact order",
        _verdict(gaps[least] > 5, partly=gaps[least] > 0),
        "renamed copies do not separate (row above)",
    )


def preference_claim(setting: Setting) -> Claim:
    """E2: the posterior prefers the lower coefficient."""
    found = runs.preference(setting)
    z = (found["sampled"][1:] - found["exact"][1:]) / found["error"][1:]
    at = [int(np.argmin(np.abs(np.log(found["n_beta"] / n)))) for n in (10.0, 1e2, 1e3, 1e4)]
    shown = [format_pm(found["sampled"][k], found["error"][k]) for k in at]
    pairs = ", ".join(
        f"n {found['n_beta'][k]:g}: {found['exact'][k]:.3f} and {text}" for k, text in zip(at, shown, strict=True)
    )
    return Claim(
        "Both M1 and M2 have loss 0; the posterior prefers M1, whose coefficient is lower, as n^(1/2)",
        "Z1/Z2 = 0.9750, 2.3414, 8.410, 27.17 at n = 10, 1e2, 1e3, 1e4; asymptote 0.27194 n^(1/2)",
        f"quadrature and sampled (integral of E[f] over n): {pairs}",
        _verdict(float(np.abs(z).max()) < 4.5),
        f"at n = 10 neither is preferred: {found['exact'][at[0]]:.3f}",
    )


def smoothed_claim(setting: Setting) -> Claim:
    """The factor two between noiseless log loss and smoothed entropy, sampled on M2."""
    plain, smooth = (runs.entropy(setting, form)["sampled"] for form in ("K0", "Keta"))
    z = [(found[0] - exact) / found[1] for found, exact in ((plain, 4.0), (smooth, 2.0))]
    return Claim(
        "The noiseless log loss K_0 has twice the learning coefficient of the smoothed entropy K_0.1, whose critical "
        "point M is (machine M2)",
        "4 and 2 (derived; sampled 4.013 ± 0.010 and 1.995 ± 0.006)",
        f"{format_pm(plain[0], plain[1])} and {format_pm(smooth[0], smooth[1])}",
        _verdict(max(map(abs, z)) < 3.5),
        "H = E f² beside f, same machine: 2 and 4 (row above)",
    )


def semantics_claims(setting: Setting) -> list[Claim]:
    """E4: one machine, three semantics, many tuple orders."""
    found = runs.orders(setting)
    values = Counter(f"{Fraction(v).limit_denominator(1000)} ({m:.0f})" for v, m in found["values"])
    three, short = (
        [
            str(exact_coefficient(library.detect_a(), library.contains_a(2, t), 3, s).newton)
            for s in ("exact", "unstaged", "staged")
        ]
        for t in (4, 2)
    )
    low, high = found["values"][:, 0].min(), found["values"][:, 0].max()
    return [
        Claim(
            "The relaxation is part of the answer: detectA on strings of length <= 2, 4 steps, exact, unstaged, staged",
            "10 (3), 10 (2), 29/3 (1) (derived)", ", ".join(three),
            _verdict(three == ["10 (3)", "10 (2)", "29/3 (1)"]),
            "at 2 steps: " + ", ".join(short),
        ),
        Claim(
            "In staged semantics the order of the tuples on the tape changes the coefficient",
            "7.75 to 10 over 31 other orders (derived)",
            f"{low:g} to {high:g} over {len(found['values'])} orders, {len(values)} distinct values "
            f"(types of degree <= {runs.order_degree(setting)})",
            _verdict(high > low), "exact and unstaged semantics do not know the order (tests)",
        ),
    ]  # fmt: skip


def toolkit_claims(setting: Setting) -> list[Claim]:
    """E5: the toolkit's estimator on a truth with rational coefficient."""
    claims = []
    for name, value in (("M1", 3.5), ("M2", 4.0))[: 1 if setting.scale == "smoke" else 2]:
        for n_beta in (100.0,) if setting.scale == "smoke" else (100.0, 1000.0):
            truth, mala, fine, coarse = runs.toolkit(setting, name, n_beta)["rows"]
            z = [(row[0] - truth[0]) / np.hypot(row[1], truth[1]) for row in (mala, fine)]
            claims.append(Claim(
                f"The toolkit's own estimator reads {name} at n_beta {n_beta:g} (eps = |w|, gamma 100)",
                f"the same law sampled in log eps: {format_pm(*truth)}; lambda {value:g} as n -> infinity",
                f"MALA {format_pm(*mala)}, SGLD step 0.1/n² {format_pm(*fine)}",
                _verdict(max(map(abs, z)) < 3.5, partly=min(map(abs, z)) < 3.5),
                f"ten times the step: SGLD {format_pm(*coarse)}",
            ))  # fmt: skip
    return claims


def _verdict(good: object, *, partly: object = False) -> Verdict:
    return "agrees" if good else "partly" if partly else "differs"


COST: Mapping = {
    "smoke": "about 15 CPU seconds",
    "cpu": "about 9 CPU minutes: sampling, the search over machine classes, a million tables",
    "gpu": "the cpu run with 8,000 chains per machine on the GPU; the search stays on one core",
}

REPRODUCTION = Reproduction(
    name="programs",
    about="Programs as singularities: Turing machines with exact learning coefficients, beside sampled ones.",
    sources=("murfet2025", "snikkers2026", "clift2018", "clift2021", "watanabe2009"),
    run=run,
    cost=COST,
    figures=program_figures,
)
