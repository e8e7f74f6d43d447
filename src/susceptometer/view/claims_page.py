"""The page of a claim set: figures and the claim table in one offline file."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from susceptometer.view.template import asset

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
.claims { width: 100%; border-collapse: collapse; font-size: .92rem; }
.claims th { text-align: left; color: var(--soft); font-weight: 600; }
.claims th, .claims td { padding: .5rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
.agrees { color: var(--good); }
.partly { color: var(--warn); }
.differs { color: var(--bad); }
.open { color: var(--soft); }
figure { margin: 18px 0; background: #fff; border: 1px solid var(--line); border-radius: 14px; padding: 14px; }
figure img { max-width: 100%; display: block; margin: 0 auto; }
figcaption { color: #5b6474; font-size: .9rem; margin-top: .5rem; }
.facts-list { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
"""


def claims_page(
    title: str,
    lead: str,
    *,
    table: tuple[Sequence[str], Sequence[Sequence[str]]],
    facts: Mapping[str, str],
    figures: Mapping[str, Figure],
) -> str:
    """HTML of a claim table with its figures.

    Args:
        title: Heading.
        lead: One sentence under it.
        table: Headings, and rows; a last cell that is a verdict (``agrees``, ``partly``, ``differs``, ``open``) is
            coloured.
        facts: Provenance, key to words.
        figures: Caption to figure, in order.
    """
    headings, rows = table
    head = "".join(f"<th>{html.escape(word)}</th>" for word in headings)
    body = "\n".join(_row(row) for row in rows)
    pictures = "\n".join(_picture(caption, figure) for caption, figure in figures.items())
    notes = "".join(f"<p><b>{html.escape(k)}</b> {html.escape(v)}</p>" for k, v in facts.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{html.escape(title)} · susceptometer</title><style>{asset("base.css")}{STYLE}</style></head>
<body><main><section class="hero"><h1>{html.escape(title)}</h1><p id="lead">{html.escape(lead)}</p></section>
<section><h2>Figures</h2>{pictures or "<p>This scale draws none.</p>"}</section>
<section><h2>Table</h2><table class="claims"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>
<section class="facts-list"><h2>Provenance</h2>{notes}</section></main>
<footer>Made by susceptometer. This file is complete: it loads nothing from anywhere.</footer></body></html>
"""


def write_claims_page(path: Path, text: str) -> None:
    """Store the page; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    *words, verdict = (html.escape(cell) for cell in cells)
    inner = "".join(f"<td>{word}</td>" for word in words)
    return f'<tr>{inner}<td class="{verdict}">{verdict}</td></tr>'


def _picture(caption: str, figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="svg", bbox_inches="tight", metadata={"Date": None})
    image = base64.b64encode(data.getvalue()).decode()
    words = html.escape(caption)
    source = f"data:image/svg+xml;base64,{image}"
    return f'<figure><img alt="{words}" src="{source}"><figcaption>{words}</figcaption></figure>'
