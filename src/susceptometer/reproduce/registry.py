"""The claim sets: a module of this room that holds ``REPRODUCTION`` is found by its name, nothing is listed twice."""

import importlib
import importlib.util
import pkgutil
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import torch
from matplotlib.figure import Figure

import susceptometer.reproduce as room
from susceptometer.errors import DataError
from susceptometer.reproduce.claims import HEADINGS, Claim, ClaimTable
from susceptometer.reproduce.setting import Scale, Setting
from susceptometer.view.claims_page import claims_page

BASE = {"claims", "setting", "registry"}


@dataclass(frozen=True)
class Reproduction:
    """A published claim set and how it is run again.

    Args:
        name: E.g. ``transient-ridge``; the module is the same word with underscores.
        about: One sentence.
        sources: Keys of ``references.bib``.
        run: The measurement: a setting in, claims out.
        cost: What each scale costs in words, said before it starts.
        version: Raised when the meaning of kept cells changes.
        facts: What a run adds to its provenance, e.g. the hash of its text.
        figures: Pictures of a finished run, caption to figure, drawn from its kept cells.
    """

    name: str
    about: str
    sources: Sequence[str]
    run: Callable[[Setting], Sequence[Claim]]
    cost: Mapping[Scale, str]
    version: int = 1
    facts: Callable[[Setting], Mapping[str, str]] = field(default=lambda _: {})
    figures: Callable[[Setting], Mapping[str, Figure]] = field(default=lambda _: {})


def names() -> list[str]:
    """Names of all claim sets of this version."""
    found = [item.name for item in pkgutil.iter_modules(room.__path__) if item.name not in BASE]
    return [name.replace("_", "-") for name in sorted(found) if _holds_one(name)]


def find(name: str) -> Reproduction:
    """The claim set of a name.

    Raises:
        DataError: There is none of that name.
    """
    known = names()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise DataError(
            "unknown claim set", where="reproduce", value=name,
            do=f"did you mean {near[0]}?" if near else f"use one of {known}",
        )  # fmt: skip
    return importlib.import_module(f"{room.__name__}.{name.replace('-', '_')}").REPRODUCTION


def reproduce(name: str, setting: Setting) -> ClaimTable:
    """Run a claim set, or go on with it, in ``setting.folder``.

    Raises:
        DataError: Unknown name, or the scale is not offered.
        RunError: The folder holds another setting.
    """
    found = find(name)
    if setting.scale not in found.cost:
        raise DataError(
            "this scale is not offered", where=name, value=setting.scale, do=f"use one of {list(found.cost)}"
        )
    setting.claim(name, found.version)
    setting.say(f"{found.about} Cost at scale {setting.scale}: {found.cost[setting.scale]}.")
    claims = list(found.run(setting))
    return ClaimTable(name, setting.scale, claims, _provenance(found, setting))


def page(table: ClaimTable, setting: Setting) -> str:
    """The page of a finished run: its figures and claims in one offline HTML file."""
    found = find(table.name)
    rows = [row.cells() for row in table.claims]
    return claims_page(
        table.name, found.about, table=(HEADINGS, rows), facts=table.provenance, figures=found.figures(setting)
    )


def folder_of(name: str, scale: str, seed: int) -> Path:
    """Where the cells of a run are kept unless told otherwise."""
    return Path("runs") / "reproduce" / f"{name}-{scale}-seed{seed}"


def _provenance(found: Reproduction, setting: Setting) -> dict[str, str]:
    text = f" --text {setting.text.name}" if setting.text else ""
    command = f"susceptometer reproduce {found.name} --scale {setting.scale} --seed {setting.seed}{text}"
    return {
        "command": f"`{command}`",
        "sources": ", ".join(found.sources),
        **found.facts(setting),
        "CPU seconds of all cells": f"{setting.cpu_seconds():.0f}",
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}",
    }


def _holds_one(module: str) -> bool:
    """By its source: importing all claim sets to list their names would load every domain."""
    source = importlib.util.find_spec(f"{room.__name__}.{module}")
    text = Path(source.origin).read_text("utf-8") if source and source.origin else ""
    return any(line.startswith("REPRODUCTION = ") for line in text.splitlines())
