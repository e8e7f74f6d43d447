"""One finished cell on disk: written beside, then renamed; complete with checksums, or not there at all."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from susceptometer.errors import RunError

CARD = "cell.json"
"""The file that makes a cell complete: what the cell is, and the size and checksum of every other file."""

ARRAYS = "arrays.zarr"

FOREIGN_SECONDS = 86400.0
"""Age at which the part of a cell that another machine was writing counts as abandoned."""


def write_cell(folder: Path, data: xr.Dataset, card: dict[str, Any]) -> None:
    """Store ``data`` at ``folder`` in one atomic step; an existing cell of the same name stays.

    Args:
        folder: Final place, named after the cell's hash.
        data: The arrays of the cell.
        card: What the cell is; checksums are added.

    Raises:
        RunError: The disk is full or the folder cannot be written; nothing half-written is left.
    """
    part = folder.with_name(f".part-{folder.name}-{socket.gethostname()}-{os.getpid()}")
    with storing(folder, cleanup=part):
        shutil.rmtree(part, ignore_errors=True)  # of a killed writer that had this process's number
        part.mkdir(parents=True)
        data.to_zarr(part / ARRAYS, mode="w", consolidated=False)
        files = {name: [size, check] for name, size, check in _files(part)}
        (part / CARD).write_text(json.dumps({**card, "files": files}), encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            if folder.exists():
                shutil.rmtree(part)
            else:
                part.rename(folder)


@contextlib.contextmanager
def storing(target: Path, *, cleanup: Path | None = None) -> Iterator[None]:
    """Turn the ways in which writing fails into one message; ``cleanup`` is removed then."""
    try:
        yield
    except OSError as error:
        if cleanup is not None:
            shutil.rmtree(cleanup, ignore_errors=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise RunError(
            "the disk is full" if full else "a file of the run cannot be written",
            where=str(target),
            value=error.strerror or str(error),
            why="this cell is not stored; every finished cell is kept",
            do="free space or rights and give the same command again: it goes on where it stopped",
        ) from error
    except BaseException:
        if cleanup is not None:
            shutil.rmtree(cleanup, ignore_errors=True)
        raise


def read_card(folder: Path) -> dict[str, Any]:
    """What a stored cell is.

    Raises:
        RunError: The card is missing or unreadable.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return {**card, "files": dict(card["files"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise broken(folder, f"{CARD}: {error}") from error


def check_files(folder: Path, card: dict[str, Any]) -> None:
    """Compare every file of a cell with its checksum.

    Raises:
        RunError: A file is missing, truncated or altered.
    """
    found = {name: [size, check] for name, size, check in _files(folder)}
    for name, expected in card["files"].items():
        if name not in found:
            raise broken(folder, f"{name} is missing")
        if found[name] != expected:
            raise broken(folder, f"{name} has {found[name][0]} of {expected[0]} bytes or altered content")


def read_arrays(folder: Path) -> xr.Dataset:
    """The arrays of a cell, in memory, after comparing checksums.

    Raises:
        RunError: The cell is truncated or altered.
    """
    check_files(folder, read_card(folder))
    with xr.open_zarr(folder / ARRAYS, consolidated=False) as stored:
        return stored.load()


def broken(folder: Path, value: str) -> RunError:
    """The error for a cell that cannot be used."""
    return RunError(
        "a stored cell is truncated or altered",
        where=str(folder),
        value=value,
        why="its numbers cannot be trusted",
        do="run the same `susceptometer read` again: damaged cells are sampled anew, with the same numbers",
    )


def remove_leftovers(cells: Path) -> None:
    """Delete the parts of cells whose writer is dead: here, or on a machine that wrote nothing for a day."""
    for part in cells.glob(".part-*"):
        host, _, process = part.name.removeprefix(".part-").partition("-")[2].rpartition("-")
        here = host == socket.gethostname()
        if not _alive(process) if here else _seconds_old(part) > FOREIGN_SECONDS:
            shutil.rmtree(part, ignore_errors=True)


def _seconds_old(part: Path) -> float:
    """Seconds since anything was added to a part; 0 where it has just gone."""
    try:
        return time.time() - part.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return int(process) != os.getpid()


def _files(folder: Path) -> Iterator[tuple[str, int, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != CARD:
            data = path.read_bytes()
            yield path.relative_to(folder).as_posix(), len(data), hashlib.blake2b(data, digest_size=16).hexdigest()
