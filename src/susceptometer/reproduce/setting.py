"""How a reproduction is run: its scale, seed, text, and a folder that keeps what is finished."""

import contextlib
import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from susceptometer.errors import DataError, RunError

Scale = Literal["smoke", "cpu", "gpu"]
SCALES: tuple[Scale, ...] = ("smoke", "cpu", "gpu")

Arrays = dict[str, np.ndarray]

CPU_SECONDS = "_cpu_seconds"
"""Name under which a kept cell remembers what it cost."""


@dataclass(frozen=True)
class Setting:
    """One run of a reproduction.

    Args:
        scale: ``smoke`` (seconds), ``cpu`` (at most 3 hours on 2 cores) or ``gpu`` (at most 25 minutes on one GPU).
        seed: Names all random streams.
        folder: Where finished cells are kept; the same command goes on there.
        text: File or folder of text, for claim sets that read a language; None takes what each Python holds.
        say: Where progress goes.
    """

    scale: Scale
    seed: int
    folder: Path
    text: Path | None = None
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise DataError("unknown scale", where="--scale", value=self.scale, do=f"use one of {list(SCALES)}")

    def claim(self, name: str, version: int) -> None:
        """Take the folder for one claim set, or refuse it where it holds another.

        Raises:
            RunError: The folder holds cells of another claim set, version, scale, seed or text.
        """
        wanted = {
            "name": name, "version": version, "scale": self.scale, "seed": self.seed,
            "text": str(self.text) if self.text else None,
        }  # fmt: skip
        card = self.folder / "setting.json"
        if card.exists():
            found = json.loads(card.read_text(encoding="utf-8"))
            if found != wanted:
                raise RunError(
                    "the folder holds cells of another setting",
                    where=str(self.folder),
                    value=found,
                    why=f"they would mix with {wanted}",
                    do="give another --into, or delete the folder",
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(card, json.dumps(wanted, indent=1).encode())

    def kept(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a finished cell, made once and stored atomically (``.npz``); a broken file is made again.

        Args:
            key: File name of the cell, unique in the claim set.
            make: Makes the arrays; must depend on the setting and the key only.
        """
        path = self.folder / f"{key}.npz"
        with contextlib.suppress(FileNotFoundError, zipfile.BadZipFile, ValueError, EOFError):
            return _arrays(path)
        start = time.process_time()
        arrays = make()
        cost = np.float64(time.process_time() - start)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **{CPU_SECONDS: cost}, **arrays)
        _replace(path, data.getvalue())
        return arrays

    def cpu_seconds(self) -> float:
        """CPU seconds of all kept cells, earlier runs included."""
        total = 0.0
        for path in sorted(self.folder.rglob("*.npz")):
            with np.load(path, allow_pickle=False) as stored:
                total += float(stored[CPU_SECONDS]) if CPU_SECONDS in stored.files else 0.0
        return total


def _arrays(path: Path) -> Arrays:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files if name != CPU_SECONDS}


def _replace(path: Path, data: bytes) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
