"""Frozen prefixes of fixed data: made once per run, shared by components that act from the same place on.

They are held in memory up to a budget, beyond it in a file that is mapped chunk by chunk (so that memory stays flat
however much text is read), and where there is no room on disk either they are made again at every pass. All three
give the same numbers.
"""

import mmap
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import torch
from torch import Tensor

from susceptometer.types import Batch, Carry, rows_of

MEMORY_BYTES = 1 << 30
"""Prefixes held in memory, all together, unless said otherwise."""

Prefix = Callable[[Batch], Carry]

Key = tuple[Hashable, Hashable]
"""What the batches are, and the place where the prefix ends."""


@dataclass
class PrefixStore:
    """Prefixes by key, the least recently used dropped first.

    Args:
        budget: Bytes held in memory.
        scratch: Folder of a file for what does not fit; None: that is made again at every pass. The file has no name:
            it is gone when the process ends, however it ends.
    """

    budget: int = MEMORY_BYTES
    scratch: Path | None = None
    _held: "OrderedDict[Key, Iterable[Carry]]" = field(default_factory=OrderedDict, repr=False)
    _sizes: dict[Key, int] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple:
        """Another process gets the settings and makes its own prefixes."""
        return PrefixStore, (self.budget, self.scratch)

    def carries(self, key: Key, batches: Sequence[Batch], prefix: Prefix) -> Iterable[Carry]:
        """The prefix of every batch in order; may be run through again and again.

        Args:
            key: What the batches are and where the prefix ends; equal keys have equal prefixes.
            batches: Chunks of fixed data.
            prefix: Makes the prefix of one chunk.
        """
        if key not in self._held:
            self._held[key] = self._placed(key, batches, prefix)
        self._held.move_to_end(key)
        return self._held[key]

    def where(self, key: Key) -> str:
        """``memory``, ``disk`` or ``made again``; ``absent`` for an unknown key."""
        kinds = {list: "memory", Spilled: "disk", Repeated: "made again"}
        return kinds[type(self._held[key])] if key in self._held else "absent"

    def fits(self, key: Key, size: int) -> bool:
        """Whether ``size`` bytes fit in memory beside what else the same place needs."""
        beside = sum(held for (_, place), held in self._sizes.items() if place == key[1])
        return beside + size <= self.budget

    def _placed(self, key: Key, batches: Sequence[Batch], prefix: Prefix) -> Iterable[Carry]:
        first = prefix(batches[0])
        size = carry_bytes(first, sum(map(rows_of, batches)))
        if self.fits(key, size):
            self._make_room(key, size)
            self._sizes[key] = size
            return [first, *map(prefix, batches[1:])]
        again = Repeated(batches, prefix)
        if self.scratch is None or shutil.disk_usage(self.scratch).free < 2 * size:
            return again
        try:
            return Spilled(self.scratch, again)
        except OSError:
            return again

    def _make_room(self, key: Key, size: int) -> None:
        """Drop other places, the one not used for longest first, until ``size`` more bytes fit."""
        others = [other for other in self._held if other in self._sizes and other[1] != key[1]]
        for other in others:
            if sum(self._sizes.values()) + size <= self.budget:
                return
            del self._held[other], self._sizes[other]


def carry_bytes(carry: Carry, rows: int) -> int:
    """Bytes of a prefix of ``rows`` rows, from that of some."""
    return sum(v.numel() * v.element_size() for v in carry.values()) * rows // rows_of(carry)


@dataclass(frozen=True)
class Repeated:
    """Prefixes made anew whenever they are run through."""

    batches: Sequence[Batch]
    prefix: Prefix

    def __iter__(self) -> Iterator[Carry]:
        return map(self.prefix, self.batches)


class Place(NamedTuple):
    """Where a tensor lies in the file."""

    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    device: torch.device


class Spilled:
    """Prefixes in a nameless file; every chunk is mapped when it is read and let go after it.

    Args:
        scratch: Folder of the file.
        carries: The prefixes, chunk by chunk.

    Raises:
        OSError: The disk is full.
    """

    def __init__(self, scratch: Path, carries: Iterable[Carry]) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - lives as long as this object
        self._chunks = [{name: self._written(value) for name, value in carry.items()} for carry in carries]
        self._file.flush()

    def __iter__(self) -> Iterator[Carry]:
        return ({name: self._read(place) for name, place in chunk.items()} for chunk in self._chunks)

    def __del__(self) -> None:
        self._file.close()

    def _written(self, value: Tensor) -> Place:
        start = -(-self._file.tell() // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._file.seek(start)
        flat = value.detach().cpu().contiguous().reshape(-1)
        self._file.write(flat.view(torch.uint8).numpy().data)
        return Place(start, value.dtype, tuple(value.shape), value.device)

    def _read(self, place: Place) -> Tensor:
        size = prod(place.shape) * place.dtype.itemsize
        mapped = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_COPY, offset=place.start)
        return torch.frombuffer(mapped, dtype=place.dtype).view(place.shape).to(place.device)
