"""A run folder: ``run.json`` says what is read and how; ``cells/`` holds whatever is finished.

There is no list of finished cells: they are discovered, so nothing can disagree with what is there. ``run.json`` and
every cell are replaced in one atomic step, so a run may be killed at any moment.
"""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from susceptometer.compute.cell_file import broken, read_card, remove_leftovers, storing
from susceptometer.compute.identity import (
    NUMBERS_VERSION,
    center_witness,
    digest,
    settings,
    settings_hash,
    subject_identity,
)
from susceptometer.errors import RunError
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.recipe import Recipe, recipe_from_dict, recipe_to_dict
from susceptometer.sampling.run import Keep

SCHEMA_VERSION = 1
"""Layout of a run folder; another one is refused in one message."""

RUN, CELLS = "run.json", "cells"

WITNESS_TOLERANCE = 1e-3
"""Relative difference of losses at w* above which two losses are different."""

LIBRARIES = ("susceptometer", "torch", "numpy", "xarray", "zarr")


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """What a run folder reads, and how: the content of ``run.json``.

    Args:
        subject: Name of the subject.
        identity: Hashes of weights, data, loss and base probe.
        center: Losses at w* of the first base rows.
        recipe: Settings; ``groups`` is the first round's number.
        seed: Seed of all chains.
        block: Groups per cell, fixed for the life of the folder.
        keep: What cells store beyond moments.
        probes: Probe name to hash, in reading order, ``base`` first.
        wanted: Component name to ``{"hash", "weights", "groups"}``.
        source: How to load the subject again (for the command line).
        provenance: Versions and command.
    """

    subject: str
    identity: dict[str, str]
    center: list[float]
    recipe: dict[str, Any]
    seed: int
    block: int
    keep: dict[str, bool]
    probes: dict[str, str]
    wanted: dict[str, dict[str, Any]]
    source: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> str:
        """Hash of everything that all cells share; a cell of another run never fits."""
        recipe = settings_hash(self.own_recipe)
        shared = [*self.identity.items(), ("recipe", recipe), ("seed", str(self.seed))]
        shared += [("numbers", str(NUMBERS_VERSION)), ("block", str(self.block))]
        return digest(text for pair in shared for text in pair)

    @property
    def own_recipe(self) -> Recipe:
        """The recipe as an object."""
        return recipe_from_dict(self.recipe)

    def recipe_of(self, component: str) -> Recipe:
        """The recipe as one component runs it."""
        return self.own_recipe.of(component)

    @property
    def own_keep(self) -> Keep:
        """What cells store beyond moments."""
        return Keep(**self.keep)


@dataclass(frozen=True)
class StoredCell:
    """A finished cell found in a run folder.

    Args:
        folder: Where it lies.
        component: Its component.
        groups: Its groups.
        probes: Its probes in order, and the number of tokens of each.
        later: Whether it holds other probes of chains that an earlier cell sampled.
    """

    folder: Path
    component: str
    groups: tuple[int, ...]
    probes: dict[str, int]
    later: bool


def new_card(subject: Subject, recipe: Recipe, *, seed: int, block: int, keep: Keep) -> RunCard:
    """The card of a run that reads nothing yet."""
    return RunCard(
        subject=subject.name,
        identity=subject_identity(subject),
        center=center_witness(subject),
        recipe=recipe_to_dict(recipe),
        seed=seed,
        block=block,
        keep=asdict(keep),
        probes={},
        wanted={},
        source=_source(subject),
        provenance=versions(),
    )


def _source(subject: Subject) -> dict[str, Any]:
    stored = subject.meta.get("source", {})
    return dict(stored) if isinstance(stored, Mapping) else {}


def versions() -> dict[str, Any]:
    """Versions of everything that computes; nothing about the host."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def write_run(path: Path, card: RunCard) -> None:
    """Replace ``run.json`` in one atomic step.

    Raises:
        RunError: The disk is full or the folder cannot be written.
    """
    with storing(path):
        (path / CELLS).mkdir(parents=True, exist_ok=True)
        part = path / f".part-{RUN}-{os.getpid()}"
        part.write_text(json.dumps(asdict(card), indent=1), encoding="utf-8")
        part.replace(path / RUN)


def has_run(path: Path) -> bool:
    """Whether a run was begun at ``path``."""
    return (path / RUN).exists()


def open_run(path: Path) -> RunCard:
    """The card of the run at ``path``.

    Raises:
        RunError: There is no run, its card cannot be read, or it has another schema.
    """
    if not has_run(path):
        raise RunError(
            "there is no run",
            where=str(path),
            value=f"{RUN} is missing",
            why="a run folder is made by `susceptometer read MODEL --into FOLDER`",
            do="check the path, or read first",
        )
    try:
        stored = json.loads((path / RUN).read_text(encoding="utf-8"))
        found = stored["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error
    if found != SCHEMA_VERSION:
        raise RunError(
            "the run has another schema",
            where=str(path),
            value=f"schema_version {found}",
            why=f"this version reads schema_version {SCHEMA_VERSION} and does not guess what others mean",
            do="use the version named in its run.json under provenance, or read again into a new folder",
        )
    try:
        return RunCard(**stored)
    except TypeError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RunError:
    return RunError(
        "run.json cannot be read",
        where=str(path),
        value=str(error),
        why="it says what the cells mean",
        do="restore the file, or give the command of the run again with a new folder",
    )


def require_same(path: Path, card: RunCard, asked: RunCard) -> None:
    """Refuse to continue a run with anything that would change its numbers.

    Raises:
        RunError: Naming everything that differs.
    """
    old, new = card.identity, asked.identity
    pairs: list[tuple[str, object, object]] = [
        (f"the {k}", old.get(k, "float32"), new.get(k, "float32")) for k in {**old, **new}
    ]
    stored, given = settings(card.own_recipe), settings(asked.own_recipe)
    pairs += [(f"recipe.{k}", stored[k], given.get(k)) for k in stored]
    pairs += [(name, getattr(card, name), getattr(asked, name)) for name in ("seed", "keep")]
    different = [f"{name} ({_short(a)} there, {_short(b)} now)" for name, a, b in pairs if a != b]
    if not different and not _same_losses(card.center, asked.center):
        different = [f"the loss at w* ({card.center} there, {asked.center} now)"]
    if different:
        raise RunError(
            "the folder holds another run",
            where=str(path),
            value="; ".join(different),
            why="mixing them would give one number from two experiments",
            do="choose another folder with `into`, or repeat the settings of the stored run",
        )


def require_same_parts(path: Path, card: RunCard, asked: RunCard) -> None:
    """Refuse probes or components that have a stored name but another content.

    Raises:
        RunError: Naming them.
    """
    wrong = [f"probe {n!r}" for n, h in asked.probes.items() if card.probes.get(n, h) != h]
    masks = {name: part["hash"] for name, part in card.wanted.items()}
    wrong += [f"component {n!r}" for n, p in asked.wanted.items() if masks.get(n, p["hash"]) != p["hash"]]
    if wrong:
        raise RunError(
            "a stored name now means something else",
            where=str(path),
            value=", ".join(wrong),
            why="one name must mean one text or one set of weights in a run",
            do="give it another name, or choose another folder",
        )


def merged(card: RunCard, asked: RunCard) -> RunCard:
    """A card that wants what both want; group counts never shrink."""
    wanted = dict(card.wanted)
    for name, part in asked.wanted.items():
        groups = max(part["groups"], wanted.get(name, part)["groups"])
        wanted[name] = {**part, "groups": groups}
    return replace(card, probes={**card.probes, **asked.probes}, wanted=wanted)


def stored_cells(path: Path, card: RunCard) -> tuple[list[StoredCell], list[RunError]]:
    """Every finished cell that belongs to ``card``, and one error per folder that cannot be understood."""
    found, damaged = [], []
    for folder in sorted((path / CELLS).glob("[0-9a-f]*")):
        try:
            stored = read_card(folder)
            if _belongs(card, stored):
                found.append(_stored(folder, stored))
        except KeyError as error:
            damaged.append(broken(folder, f"the card lacks {error}"))
        except RunError as error:
            damaged.append(error)
    return found, damaged


def _belongs(card: RunCard, stored: dict) -> bool:
    """Whether run, component mask and probes of a stored cell are those of the card."""
    part = card.wanted.get(stored["component"], {})
    texts = all(card.probes.get(name) == stored["texts"][name] for name in stored["probes"])
    return stored["run"] == card.key and stored["mask"] == part.get("hash") and texts


def _stored(folder: Path, stored: dict) -> StoredCell:
    groups, probes = tuple(stored["groups"]), dict(stored["probes"])
    return StoredCell(folder, stored["component"], groups, probes, bool(stored["later"]))


def tidy(path: Path) -> None:
    """Remove what killed writers and killed senders left behind."""
    remove_leftovers(path / CELLS)
    for file in path.glob(".part-beacon-*"):
        file.unlink(missing_ok=True)


def _same_losses(old: list[float], new: list[float]) -> bool:
    close = [abs(a - b) <= WITNESS_TOLERANCE * (abs(a) + 1e-6) for a, b in zip(old, new, strict=False)]
    return len(old) == len(new) and all(close)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:8] if len(text) == 32 else text
