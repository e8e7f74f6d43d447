"""The open question of murfet2025 put to whole classes of machines: can correction make a program less complex?"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from susceptometer.domains.programs.search import BranchAndBound, Class
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.setting import Arrays, Scale, Setting

SECONDS = {"smoke": 2.0, "cpu": 25.0, "gpu": 25.0}
"""CPU seconds for one class of the search; a class that needs more is reported as not finished."""


def families(scale: Scale) -> list[list[Class]]:
    """Classes of the search, the smaller first in each list; all three answer the same question in the same time."""
    questions = ["contains A"] if scale == "smoke" else QUESTIONS
    steps = (2,) if scale == "smoke" else (2, 3, 4)
    return [
        [
            Class(question, 2, 2, t, symbols, states, noisy, mapped=True)
            for symbols, states in ((3, 2), (4, 2), (3, 3))
        ]
        for t in steps for question in questions for noisy in (("st",), ("sym", "st", "dir"))
    ]  # fmt: skip


QUESTIONS = ("contains A", "parity of A", "last is A", "first is A", "equal ends")


def searched(setting: Setting, family: Class, ceiling: Fraction | None) -> Arrays:
    """One class: smallest value below the ceiling as a fraction (0, 0: none), counts, machines covered, a machine."""

    def make() -> Arrays:
        degree = family.steps if family.noisy == ("st",) else 4
        found = BranchAndBound(
            family, degree, seconds=SECONDS[setting.scale], ceiling=ceiling
        ).minimum()
        value = found.value
        return {
            "fraction": np.asarray([0, 0] if value is None else [value.numerator, value.denominator]),
            "counts": np.asarray([found.nodes, found.solved, found.complete], dtype=np.int64),
            "covered": np.asarray(float(found.covered)),
            "machine": np.asarray("" if found.machine is None else found.machine.to_json()),
        }

    noise = "-".join(family.noisy)
    key = f"{family.question}-{family.steps}-{noise}-{family.symbols}x{family.states}"
    return setting.kept("search/" + "".join(c if c.isalnum() else "-" for c in key), make)


def search_claims(setting: Setting) -> list[Claim]:
    """Section 11: is there a larger machine with a smaller coefficient?"""
    groups = [(classes, _minima(setting, classes)) for classes in families(setting.scale)]
    rows = [(family, cell) for classes, cells in groups for family, cell in zip(classes, cells, strict=False)]
    nodes, solved = (sum(int(cell["counts"][k]) for _, cell in rows) for k in (0, 1))
    covered = sum(float(cell["covered"]) for _, cell in rows if cell["counts"][2])
    larger = [pair for classes, cells in groups for pair in zip(classes[1:], cells[1:], strict=False)]
    hits = [f"{_title(f)}: {_value(c)}" for f, c in larger if c["fraction"][1]]
    closed = sum(bool(c["counts"][2]) for _, c in larger)
    least = "; ".join(f"{_title(cl[0])}: {_value(ce[0])}" for cl, ce in groups if ce[0]["fraction"][1])
    verdict: Verdict = "differs" if hits else "partly" if closed else "open"
    return [Claim(
        "Open: can more room for correction (a state or symbol more) lower the coefficient below that of every smaller "
        "machine for the function?",
        "open (murfet2025); no hit in earlier searches",
        f"{len(hits)} hits in {len(larger)} comparisons, {closed} of them searched to the end: {nodes:,} partly "
        f"written tables, {solved} machines solved exactly, {covered:.1e} machines excluded by bounds. Smallest "
        f"coefficients: {least}"
        + (f". Hits: {'; '.join(hits)}" if hits else ""),
        verdict, "the smaller class itself, searched in the same way, gives the ceiling",
    )]  # fmt: skip


def _minima(setting: Setting, classes: Sequence[Class]) -> list[Arrays]:
    """The smallest class first; the larger ones only have to undercut it."""
    first = searched(setting, classes[0], None)
    if not first["fraction"][1] or not first["counts"][2]:
        return [first]
    ceiling = Fraction(*map(int, first["fraction"]))
    return [first, *(searched(setting, family, ceiling) for family in classes[1:])]


def _title(family: Class) -> str:
    noise = "states" if family.noisy == ("st",) else "all squares"
    return f"{family.question}, t = {family.steps}, {noise} noisy, {family.symbols} x {family.states}"


def _value(cell: Arrays) -> str:
    return str(Fraction(*map(int, cell["fraction"])))
