"""How a `Plan` shows itself: what was asked, what the chains can tell, what is expected.

The plan comes as ``Any``: `plan.Plan` imports this file, not the other way round.
"""

from html import escape
from typing import Any

import numpy as np
import pandas as pd

from susceptometer.estimate.estimate import format_pm

STRENGTHS = (0.25, 0.5, 1.0, 2.0)


def heading(plan: Any) -> str:
    """One line: sizes and how chi was inverted."""
    used, total = int(plan.used.inverted.sum()), len(plan.used.inverted)
    how = "limits met by a convex program" if plan.limits else "linear, clipped to [0, 5]"
    return (
        f"plan of {len(plan.response.share):,} data for {len(plan.target)} observables, {plan.response.groups} groups: "
        f"{used} of {total} directions inverted (condition {plan.used.condition:.3g}), ridge {plan.how.ridge:g}, {how}"
    )


def trust(plan: Any) -> str:
    """One line: how far disjoint halves of the chains agree on the weights, and what the target lost."""
    vectors = plan.used.vectors[:, plan.used.inverted]
    kept = float(np.linalg.norm(vectors.T @ plan.target) / np.linalg.norm(plan.target))
    return (
        f"weights from disjoint halves of the chains correlate {np.nanmean(plan.agreement):.2f}; "
        f"{kept:.0%} of the target lies in resolved directions"
    )


def expected(plan: Any) -> pd.DataFrame:
    """Asked and predicted change of every observable, at strength one and after clipping."""
    found = plan.predicted()
    rows = zip(plan.response.observables, plan.target, found.value.to_numpy(), found.error.to_numpy(), strict=True)
    return pd.DataFrame([{"observable": n, "asked": f"{t:.4g}", "predicted": format_pm(v, e)} for n, t, v, e in rows])


def text(plan: Any) -> str:
    """Plain text for a terminal."""
    return "\n".join(
        [
            heading(plan), trust(plan), expected(plan).to_string(index=False), "",
            "along the target (1 is what was asked):", rounded(plan.sweep(STRENGTHS)).to_string(index=False),
        ]
    )  # fmt: skip


def html(plan: Any) -> str:
    """The same for a notebook, with the histogram of the weights and the most and least wanted data."""
    parts = [f"<p>{escape(heading(plan))}<br>{escape(trust(plan))}</p>", expected(plan).to_html(index=False)]
    parts += [rounded(plan.sweep(STRENGTHS)).to_html(index=False), histogram(plan)]
    return "".join([*parts, rounded(plan.extremes(5)).to_html(index=False)])


def histogram(plan: Any, bins: int = 30) -> str:
    """Histogram of the weights as a small picture (SVG)."""
    inside = plan.response.share > 0
    values = plan.rho()[inside] if inside.any() else plan.rho()
    count, edges = np.histogram(values, bins)
    tall = max(1, int(count.max()))
    bars = "".join(
        f'<rect x="{10 * i}" y="{60 - 60 * c / tall:.1f}" width="9" height="{60 * c / tall:.1f}">'
        f"<title>{low:.2f} to {high:.2f}: {c}</title></rect>"
        for i, (c, low, high) in enumerate(zip(count, edges[:-1], edges[1:], strict=True))
    )
    label = f"weights from {edges[0]:.2f} to {edges[-1]:.2f}"
    return f'<svg width="{10 * bins}" height="62" role="img" aria-label="{label}">{bars}</svg><p>{label}</p>'


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers as text of four digits."""
    return table.apply(lambda column: column.map("{:.4g}".format) if column.dtype.kind == "f" else column)
