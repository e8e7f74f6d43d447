"""Stored cells as one data set per component, loaded when asked for; probe tables beside them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
import xarray as xr

from susceptometer.compute.cell_file import read_arrays, storing
from susceptometer.compute.store import RunCard, StoredCell
from susceptometer.errors import RunError
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.moments import probe_order
from susceptometer.sampling.reading import token_table

PROBES, STRINGS = "probes", "token_strings.json"

MEMORY_BYTES = 1 << 28
"""Joined components stay in memory up to this size."""


@dataclass(frozen=True)
class StoredCells(Mapping[str, xr.Dataset]):
    """The components of a run folder; each is read from disk when it is asked for.

    Args:
        card: What the run reads.
        found: Its finished cells.
    """

    card: RunCard
    found: tuple[StoredCell, ...]
    _kept: dict[str, xr.Dataset] = field(default_factory=dict, repr=False, compare=False)

    def __iter__(self) -> Iterator[str]:
        present = {cell.component for cell in self.found if not cell.later}
        return (name for name in self.card.wanted if name in present)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __getitem__(self, name: str) -> xr.Dataset:
        if name not in self._kept:
            if name not in list(self):
                raise KeyError(name)
            data = joined([cell for cell in self.found if cell.component == name], list(self.card.probes))
            while self._kept and sum(d.nbytes for d in self._kept.values()) + data.nbytes > MEMORY_BYTES:
                self._kept.pop(next(iter(self._kept)))
            self._kept[name] = data
        return self._kept[name]


def joined(cells: Sequence[StoredCell], probes: Sequence[str]) -> xr.Dataset:
    """All groups of one component with the tokens of ``probes`` in that order.

    Raises:
        RunError: A cell is truncated or altered.
    """
    by_groups: dict[tuple[int, ...], list[StoredCell]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.groups, cell.later)):
        by_groups.setdefault(cell.groups, []).append(cell)
    parts = [one_block(block, probes) for block in by_groups.values() if not block[0].later]
    whole = _concatenated(parts, "group")
    radius = np.sqrt(np.mean([part.attrs["radius"] ** 2 for part in parts]))
    return whole.assign_attrs(base_tokens=parts[0].attrs["base_tokens"], radius=float(radius))


def one_block(cells: Sequence[StoredCell], probes: Sequence[str]) -> xr.Dataset:
    """One block of groups: the sampled cell, with tokens of later probes put in their place."""
    pieces: dict[str, xr.Dataset] = {}
    arrays = [read_arrays(cell.folder) for cell in cells]
    for cell, data in zip(cells, arrays, strict=True):
        start = 0
        for name, tokens in cell.probes.items():
            pieces.setdefault(name, data.isel(token=slice(start, start + tokens)))
            start += tokens
    ordered = [pieces[name] for name in probes if name in pieces]
    if len(cells) == 1 and list(cells[0].probes) == [name for name in probes if name in pieces]:
        return arrays[0]
    return _concatenated(ordered, "token").assign_attrs(arrays[0].attrs)


def _concatenated(parts: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    """Variables that have ``dim`` joined along it; of the others the first."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    names = [name for name in first.variables if dim in first[name].dims and name != dim]
    names = [name for name in names if all(name in part for part in parts)]
    data = {
        name: (first[name].dims, np.concatenate([p[name].values for p in parts], first[name].dims.index(dim)))
        for name in names
    }
    rest = {name: first[name] for name in first.data_vars if dim not in first[name].dims}
    coords = {"group": np.concatenate([p["group"].values for p in parts])} if dim == "group" else {}
    return xr.Dataset({**{name: (v.dims, v.values) for name, v in rest.items()}, **data}).assign_coords(
        coords or {"group": first["group"].values}
    )


def write_probes(path: Path, card: RunCard, subject: Subject) -> None:
    """Store token coordinates and rows of every probe of ``card`` that is not there yet, and token strings.

    Raises:
        RunError: The disk is full.
    """
    given = {name: text for name, text in card.probes.items() if name in subject.probes}
    fresh = [name for name, text in given.items() if not _readable(path, text)]
    if fresh:
        names = probe_order(list(dict.fromkeys(["base", *fresh])))
        table = token_table(replace(subject, probes={name: subject.probes[name] for name in names}))
        for name in fresh:
            _write_probe(path / PROBES / f"{card.probes[name]}.npz", table, name, subject)
    strings = subject.meta.get("token_strings")
    if isinstance(strings, Sequence) and not (path / STRINGS).exists():
        with storing(path):
            part = path / f".part-{STRINGS}"
            part.write_text(json.dumps(list(strings)), encoding="utf-8")
            part.replace(path / STRINGS)


def _write_probe(file: Path, table: xr.Dataset, name: str, subject: Subject) -> None:
    mine = table.isel(token=np.flatnonzero(table["probe"].values == name))
    arrays: dict[str, Any] = {str(key): mine[key].values for key in mine.coords if key != "probe"}
    arrays |= {f"rows_{key}": value.cpu().numpy() for key, value in subject.probes[name].items()}
    with storing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".part-{file.name}")
        with part.open("wb") as out:
            np.savez_compressed(out, **arrays)
        part.replace(file)


def read_tokens(path: Path, card: RunCard) -> xr.Dataset:
    """Coordinates of all probe tokens in reading order: ``probe row position`` (``token_id text`` if language).

    Raises:
        RunError: A probe's table is missing or unreadable.
    """
    tables = {name: _probe_arrays(path, text) for name, text in card.probes.items()}
    keys = [key for key in next(iter(tables.values())) if not key.startswith("rows_")]
    coords: dict[str, tuple] = {
        key: ("token", np.concatenate([arrays[key] for arrays in tables.values()])) for key in keys
    }
    sizes = {name: len(arrays["row"]) for name, arrays in tables.items()}
    coords["probe"] = ("token", np.repeat(list(sizes), list(sizes.values())))
    strings = token_strings(path)
    if strings and "token_id" in coords:
        text = [strings[i] if i < len(strings) else f"<{i}>" for i in coords["token_id"][1].tolist()]
        coords["text"] = ("token", np.array(text, dtype=object))
    return xr.Dataset(coords=coords)


def read_probe(path: Path, card: RunCard, name: str) -> dict[str, torch.Tensor]:
    """The rows of a stored probe: named tensors ``[rows, ...]``."""
    arrays = _probe_arrays(path, card.probes[name])
    return {k.removeprefix("rows_"): torch.from_numpy(v) for k, v in arrays.items() if k.startswith("rows_")}


def token_strings(path: Path) -> list[str]:
    """Decoded string of every token id; empty where the subject is no language model."""
    file = path / STRINGS
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def _readable(path: Path, text: str) -> bool:
    try:
        _probe_arrays(path, text)
    except RunError:
        return False
    return True


def _probe_arrays(path: Path, text: str) -> dict[str, np.ndarray]:
    file = path / PROBES / f"{text}.npz"
    try:
        with np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise RunError(
            "the table of a probe cannot be read",
            where=str(file),
            value=str(error),
            why="losses would have no tokens",
            do="give the same `susceptometer read` again: it writes missing tables anew",
        ) from error
