"""Pour data, style and script into the page's template; arrays travel as base64."""

import base64
import html
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

SCRIPTS = (
    "choice.js", "state.js", "format.js", "header.js", "llc.js", "text.js", "card.js", "strongest.js", "search.js",
    "table.js", "diagnostics.js", "footer.js", "main.js",
)  # fmt: skip
"""The script's files in the order in which they run."""

STYLES = ("base.css", "text.css", "panels.css")


def asset(name: str) -> str:
    """Text of one file of the page's sources."""
    return (resources.files("susceptometer.view") / "assets" / name).read_text(encoding="utf-8")


def packed(value: object) -> object:
    """A JSON value for ``value``: arrays become shape, type and base64 bytes, little-endian."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"no JSON form for {type(value).__name__}")
    kind = {"f": "f4", "i": "i4", "u": "u1"}[value.dtype.kind]
    flat = np.ascontiguousarray(value, dtype=f"<{kind}")
    return {"shape": value.shape, "kind": kind, "bytes": base64.b64encode(flat.tobytes()).decode()}


def payload_json(payload: dict[str, object]) -> str:
    """The payload as JSON that is safe inside a script element."""
    text = json.dumps(payload, default=packed, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@dataclass(frozen=True)
class Sources:
    """The files of one kind of page, under ``view/assets``.

    Args:
        template: HTML with the slots ``{{title}}``, ``{{style}}``, ``{{payload}}`` and ``{{script}}``.
        styles: In the order of the cascade.
        scripts: In the order in which they run.
    """

    template: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]


REPORT = Sources("page.html", STYLES, SCRIPTS)


def filled_template(sources: Sources, *, title: str, payload: dict[str, object]) -> str:
    """The page: template, styles, script and data in one string; what is poured in is never searched for slots."""
    slots = {
        "title": html.escape(title),
        "style": "\n".join(asset(name) for name in sources.styles),
        "payload": payload_json(payload),
        "script": "\n".join(asset(name) for name in sources.scripts),
    }
    head, *rest = asset(sources.template).split("{{")
    pieces = [head]
    for part in rest:
        name, tail = part.split("}}", 1)
        pieces += [slots[name], tail]
    return "".join(pieces)


def written(text: str, path: str | Path) -> Path:
    """Write a page to ``path`` and return it; folders are made as needed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target
