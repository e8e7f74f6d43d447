"""The page of a plan in one offline file: what is asked, which data, what is predicted, what was observed."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from susceptometer.patterning.local_check import LocalCheck
from susceptometer.patterning.plan import Plan
from susceptometer.patterning.summary import STRENGTHS, expected, heading, histogram, rounded, trust
from susceptometer.view.template import asset

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
table { border-collapse: collapse; font-size: .92rem; margin: .6rem 0; }
th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); border-top: 0; border-left: 0; border-right: 0; }
svg rect { fill: var(--accent); }
.row { font: .88rem/1.9 var(--mono); overflow-wrap: anywhere; white-space: pre-wrap; margin: .5rem 0; }
.row span { padding: .1rem 0; border-radius: 3px; }
.up { background: color-mix(in srgb, var(--pos) var(--share), transparent); }
.down { background: color-mix(in srgb, var(--neg) var(--share), transparent); }
"""


def plan_page(
    plan: Plan,
    *,
    strings: Sequence[str] | None = None,
    check: LocalCheck | None = None,
    observed: pd.DataFrame | None = None,
    features: pd.DataFrame | None = None,
) -> str:
    """HTML of a plan.

    Args:
        plan: Asked and solved.
        strings: String of every token id: shows text coloured by weight (more: warm, less: cold).
        check: The local check, if it was made.
        observed: Table of `patterning.steer.beside`, after training.
        features: Table of `patterning.surface.surface`.
    """
    asked = "asked: " + ", ".join(
        f"{name} {value:+.3g}" for name, value in zip(plan.response.observables, plan.target, strict=True)
    )
    parts = [
        _section("What is asked", f"<p>{html.escape(asked)}</p><p>{html.escape(trust(plan))}</p>"),
        _section("Which data", histogram(plan) + _text(plan, strings) + _table(plan.extremes(8, strings=strings))),
        _section("Do the weights repeat the surface?", _table(features)),
        _section("What is predicted", _table(expected(plan)) + _table(plan.sweep(STRENGTHS))),
        _section("Local check, before any training", "" if check is None else f"<pre>{html.escape(repr(check))}</pre>"),
        _section("What was observed", _table(observed)),
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>Plan · susceptometer</title><style>{asset("base.css")}{STYLE}</style></head>
<body><main><section class="hero"><h1>Plan</h1><p id="lead">{html.escape(heading(plan))}</p></section>
{"".join(parts)}</main>
<footer>Made by susceptometer. This file is complete: it loads nothing from anywhere.</footer></body></html>
"""


def write_plan_page(path: Path, text: str) -> None:
    """Store the page; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{inner}</section>" if inner else ""


def _table(table: pd.DataFrame | None) -> str:
    return "" if table is None else rounded(table).to_html(index=False, border=0)


def _text(plan: Plan, strings: Sequence[str] | None, rows: int = 4) -> str:
    """The rows with the largest spread of weights, every token on a ground of its weight."""
    data = plan.response.data
    if strings is None or "token_id" not in data.coords:
        return ""
    weights, row = plan.rho(), data["row"].to_numpy()
    spread = {number: float(weights[row == number].std()) for number in pd.unique(row)}
    chosen = sorted(spread, key=lambda number: -spread[number])[:rows]
    scale = max(float(np.abs(weights - 1).max()), 1e-12)
    shown = []
    for number in chosen:
        picked = np.flatnonzero(row == number)
        ids = data["token_id"].to_numpy()[picked]
        shown.append("".join(_token(strings[i], weights[j], scale) for i, j in zip(ids.tolist(), picked, strict=True)))
    return "".join(f'<p class="row">{line}</p>' for line in shown)


def _token(word: str, weight: float, scale: float) -> str:
    share = min(100, round(100 * abs(weight - 1) / scale))
    kind = "up" if weight >= 1 else "down"
    title = f"weight {weight:.3f}"
    return f'<span class="{kind}" style="--share:{share}%" title="{title}">{html.escape(word)}</span>'
