"""The open question of murfet2025 put to whole classes of machines: can correction make a program less complex?"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from susceptometer.domains.programs.search import BranchAndBound, Class
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.setting import Arrays, Scale, Setting

SECONDS = {"smoke": 2.0, "cpu": 2.0, "gpu": 20.0}
"""CPU seconds for one class; a class that needs more is reported as not finished."""

NOISES = {"all squares": ("sym", "st", "dir"), "states only": ("st",), "moves only": ("dir",)}
"""Which squares of the description are noisy."""

STEPS = {"cpu": (2, 3), "gpu": (2, 3, 4)}

QUESTIONS = ("contains A", "parity of A", "last is A", "first is A", "equal ends")


def families(scale: Scale, noise: str) -> list[list[Class]]:
    """Classes of the search in lists: the smallest first, then one symbol more and one state more.

    All classes of a list answer one question in the same time, for words over {A, B} of length 1 and 2, or A, AA, AAA.
    """
    noisy = NOISES[noise]
    questions, steps = (("contains A",), (2,)) if scale == "smoke" else (QUESTIONS, STEPS[scale])
    asked = [(q, 2, 2, t) for q in questions for t in steps]
    if scale != "smoke":
        asked += [("parity of A", 1, 3, t) for t in STEPS[scale]]
    return [
        [
            Class(*question, symbols=letters + more, states=states, noisy=noisy, mapped=True)
            for more, states in ((1, 2), (2, 2), (1, 3))
        ]
        for question in asked for letters in question[1:2]
    ]  # fmt: skip


def searched(setting: Setting, family: Class, ceiling: Fraction | None) -> Arrays:
    """One class: smallest value below the ceiling as a fraction (0, 0: none), counts, machines covered, a machine."""

    def make() -> Arrays:
        degree = min(4, family.steps) if family.noisy == ("st",) else 4
        found = BranchAndBound(family, degree, seconds=SECONDS[setting.scale], ceiling=ceiling).minimum()
        value = found.value
        return {
            "fraction": np.asarray([0, 0] if value is None else [value.numerator, value.denominator]),
            "counts": np.asarray([found.nodes, found.solved, found.complete], dtype=np.int64),
            "covered": np.asarray(float(found.covered)),
            "machine": np.asarray("" if found.machine is None else found.machine.to_json()),
        }

    noise = "-".join(family.noisy)
    size = f"{family.symbols}x{family.states}"
    key = f"{family.question}-{family.letters}{family.longest}-{family.steps}-{noise}-{size}"
    return setting.kept("search/" + key.replace(" ", "-"), make)


Pair = tuple[Class, Arrays]


def search_claims(setting: Setting) -> list[Claim]:
    """Section 11: is there a larger machine with a smaller coefficient? One row per kind of noise."""
    return [_claim(setting, noise) for noise in NOISES]


def _claim(setting: Setting, noise: str) -> Claim:
    lists = [_minima(setting, classes) for classes in families(setting.scale, noise)]
    larger = [pair for pairs in lists for pair in pairs[1:]]
    hits = [f"{_title(family)}: {_value(cell)}" for family, cell in larger if cell["fraction"][1]]
    closed = sum(bool(cell["counts"][2]) for _, cell in larger)
    every = [cell for pairs in lists for _, cell in pairs]
    nodes, solved = (sum(int(cell["counts"][k]) for cell in every) for k in (0, 1))
    covered = sum(float(cell["covered"]) for cell in every if cell["counts"][2])
    smallest = [pairs[0] for pairs in lists if pairs[0][1]["fraction"][1]]
    least = "; ".join(f"{_title(family)}: {_value(cell)}" for family, cell in smallest)
    verdict: Verdict = "agrees" if hits else "partly" if closed else "open"
    return Claim(
        "Net-negative correction: a machine with a symbol or a state more has a lower coefficient than every smaller "
        f"machine for the function in the same time. Noise: {noise}",
        "open (murfet2025)",
        f"{len(hits)} found in {len(larger)} comparisons, {closed} of them decided: {nodes:,} partly written tables, "
        f"{solved} machines solved exactly, {covered:.1e} machines covered by proof. "
        + (f"Found: {'; '.join(hits)}. " if hits else "") + f"Smallest coefficients: {least}",
        verdict,
        "the smaller class, searched in the same way, sets the mark",
    )  # fmt: skip


def _minima(setting: Setting, classes: Sequence[Class]) -> list[Pair]:
    """The smallest class first; the larger ones only have to undercut it."""
    first = searched(setting, classes[0], None)
    pairs = [(classes[0], first)]
    if first["fraction"][0] and first["counts"][2]:
        ceiling = Fraction(*map(int, first["fraction"]))
        pairs += [(family, searched(setting, family, ceiling)) for family in classes[1:]]
    return pairs


def _title(family: Class) -> str:
    words = "A, AA, AAA" if family.letters == 1 else f"length <= {family.longest}"
    return f"{family.question} ({words}), t = {family.steps}, {family.symbols} symbols, {family.states} states"


def _value(cell: Arrays) -> str:
    return str(Fraction(*map(int, cell["fraction"])))
