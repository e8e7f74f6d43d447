"""Many machines of one size for one function: how the coefficient spreads, and whether correcting more raises it."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from susceptometer.domains.programs.partial import Followed
from susceptometer.domains.programs.search import Class
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.setting import Arrays, Scale, Setting
from susceptometer.rng import stream_seed
from susceptometer.testbed.form import Array
from susceptometer.testbed.newton import threshold

FAMILY = Class("contains A", 2, 2, 3, 3, 2, ("sym", "st", "dir"), mapped=False)
"""Strings over A and B of length 1 and 2, 3 steps, blank and two letters, two states, every square noisy."""

DEGREE = 3
NEXT_STATES = np.array([0, 1, 1, 1, 0, 1])
"""detectA's own next states: of (blank, A, B) x (reject, accept)."""

DRAWS: dict[Scale, Mapping[str, int]] = {
    "smoke": {"detectA's next states": 60, "any table": 2_000},
    "cpu": {"detectA's next states": 3_000, "any table": 100_000},
    "gpu": {"detectA's next states": 100_000, "any table": 8_000_000},
}
"""Tables drawn of either kind."""


def variants(setting: Setting, kind: str) -> Arrays:
    """Machines of a kind that answer rightly, grouped.

    Returns:
        ``rows`` [groups, 4]: numerator and denominator of lambda_f (types of degree <= 3), number of single errors that
        are not corrected, machines; ``drawn``: tables drawn.
    """

    def make() -> Arrays:
        shape, known = FAMILY.shapes()[0], {}
        draw = np.random.default_rng(stream_seed(setting.seed, "variants", kind))
        found: Counter[tuple[Fraction, int]] = Counter()
        drawn = DRAWS[setting.scale][kind]
        for _ in range(drawn):
            table = np.stack([draw.integers(0, size, shape.tuples) for size in shape.sizes], axis=1)
            if kind != "any table":
                table[:, 1] = NEXT_STATES
            here = Followed(shape, table, DEGREE)
            if here.answers:
                if here.types not in known:
                    known[here.types] = threshold(here.types)
                found[known[here.types], here.linear] += 1
        rows = [(value.numerator, value.denominator, linear, count) for (value, linear), count in found.items()]
        return {"rows": np.array(sorted(rows), dtype=np.int64).reshape(-1, 4), "drawn": np.array(drawn)}

    return setting.kept("variants/" + kind.replace(" ", "-").replace("'", ""), make)


def variant_claims(setting: Setting) -> list[Claim]:
    """The spread of coefficients, and correction against coefficient."""
    return [_spread(setting), _correction(setting)]


def _spread(setting: Setting) -> Claim:
    shown, inside = [], False
    for kind in DRAWS[setting.scale]:
        found = variants(setting, kind)
        values = _values(found["rows"])
        total = sum(values.values())
        listed = ", ".join(f"{value}: {count:,}" for value, count in sorted(values.items())[:6])
        more = f" and {len(values) - 6} more up to {max(values)}" if len(values) > 6 else ""
        shown.append(f"{kind}: {total:,} of {int(found['drawn']):,} tables answer rightly; {listed}{more}")
        if kind != "any table":
            inside = {str(value) for value in values} <= {"19/2", "10"}
    return Claim(
        "Machines of detectA's size for its function (strings of length <= 2, 3 steps, exact) take few values",
        "912 random variants: 19/2 and 10 only (derived)", "; ".join(shown), "agrees" if inside else "differs",
        "detectA itself 10, D1 19/2, D2 10 (row on sampled coefficients)",
    )  # fmt: skip


def _correction(setting: Setting) -> Claim:
    rows = np.concatenate([variants(setting, kind)["rows"] for kind in DRAWS[setting.scale]])
    value, linear, count = rows[:, 0] / rows[:, 1], rows[:, 2], rows[:, 3].astype(float)
    raised, pairs = _inversions(value, linear, count)
    order = np.average(value, weights=count), np.average(linear, weights=count)
    covariance = np.average((value - order[0]) * (linear - order[1]), weights=count)
    squares = [np.average((each - mean) ** 2, weights=count) for each, mean in zip((value, linear), order, strict=True)]
    spread = np.sqrt(squares[0] * squares[1])
    example = _example(value, linear)
    return Claim(
        "Correcting more single errors can go with a higher coefficient: of two machines of one size and function the "
        "one that leaves fewer single errors uncorrected has the larger lambda_f",
        "open whether correction can raise lambda (murfet2025 asks whether it can lower it)",
        f"{100 * raised / max(pairs, 1):.1f} % of {pairs:.2g} pairs among {int(count.sum()):,} machines that differ in "
        f"the number of uncorrected single errors; {example}; correlation of that number with lambda_f "
        f"{covariance / spread:+.2f}",
        "agrees" if raised else "differs",
        "machines paired at random: 50 % but for ties",
    )


def _values(rows: Array) -> dict[Fraction, int]:
    found: Counter[Fraction] = Counter()
    for numerator, denominator, _, count in rows.tolist():
        found[Fraction(numerator, denominator)] += count
    return dict(found)


def _inversions(value: Array, linear: Array, count: Array) -> tuple[float, float]:
    """Pairs in which fewer uncorrected single errors go with a larger value, and pairs that differ in their number."""
    fewer = linear[:, None] < linear[None, :]
    weight = np.outer(count, count)
    return float(weight[fewer & (value[:, None] > value[None, :])].sum()), float(weight[fewer].sum())


def _example(value: Array, linear: Array) -> str:
    """The pair that is farthest the wrong way round."""
    gap = np.where(linear[:, None] < linear[None, :], value[:, None] - value[None, :], -np.inf)
    more, less = np.unravel_index(gap.argmax(), gap.shape)
    first, second = (
        f"{linear[k]} uncorrected, lambda_f {Fraction(float(value[k])).limit_denominator(60)}" for k in (more, less)
    )
    return f"farthest: {first} against {second}"
