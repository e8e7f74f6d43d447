"""What travels to a worker on another machine: an order once, and what comes back of every cell."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from susceptometer.compute.cell_file import storing
from susceptometer.compute.cells import Order, Work, card_of, made, run_work
from susceptometer.compute.identity import subject_identity
from susceptometer.compute.store import RunCard
from susceptometer.errors import RunError, SubjectError, SusceptometerError
from susceptometer.posterior.component import Component
from susceptometer.posterior.prefix import PrefixStore
from susceptometer.posterior.subject import Subject
from susceptometer.types import Batch

REBUILD = "rebuild"
"""Entry of a subject's ``meta``: a function without arguments that makes the same subject again."""


@dataclass(frozen=True)
class Parcel:
    """An order as it is sent to workers, once each.

    Args:
        token: Names the parcel and, in the run folder, a file by which a worker knows that it sees that folder.
        path: The run folder, as the sender calls it.
        card: What is read.
        components: By name.
        subject: The subject; None where it cannot be pickled.
        rebuild: Makes the subject again where it cannot be pickled.
        probes: All probes (a subject made again knows only its own).
        prefix_bytes: Memory for frozen prefixes in every worker; the rest goes to its machine's temporary folder.
    """

    token: str
    path: Path
    card: RunCard
    components: Mapping[str, Component]
    subject: Subject | None
    rebuild: Callable[[], Subject] | None
    probes: Mapping[str, Batch]
    prefix_bytes: int

    def order(self, device: str = "cpu") -> Order:
        """The order, on the worker's side.

        Raises:
            RunError: The subject made again is another one.
        """
        subject = self.subject if self.subject is not None else self._again()
        prefixes = PrefixStore(self.prefix_bytes, Path(tempfile.gettempdir()))
        return Order(self.path, self.card, subject.on(device), self.components, prefixes)

    def _again(self) -> Subject:
        assert self.rebuild is not None
        subject = self.rebuild()
        found, wanted = subject_identity(subject), self.card.identity
        other = [f"the {name}" for name in wanted if found[name] != wanted[name]]
        if other:
            raise RunError(
                "a worker made another subject",
                where=f"rebuild of {self.card.subject}",
                value=", ".join(other),
                why="one run would mix two models",
                do="give every machine the same files and the same version of the package",
            )
        return replace(subject, probes=dict(self.probes))


@dataclass(frozen=True)
class Outcome:
    """What a worker sends back of one cell.

    Args:
        data: The whole cell, or only its loss traces where the worker stored it.
        card: What ``cell.json`` says, where the sender is to store it; None: stored already.
        error: Why there is no cell.
        unseen: The cell needs files of the run folder, and the worker does not see that folder.
        seconds: Wall time of the cell on the worker.
    """

    data: xr.Dataset | None = None
    card: dict[str, Any] | None = None
    error: SusceptometerError | None = None
    unseen: bool = False
    seconds: float = 0.0


def packed(order: Order, token: str) -> Parcel:
    """The parcel of an order, with the subject itself if it can be pickled and its ``rebuild`` otherwise.

    Raises:
        SubjectError: It can neither be pickled nor made again.
    """
    subject = order.subject
    budget = order.prefixes.budget
    whole = Parcel(token, order.path.absolute(), order.card, dict(order.components), subject, None, {}, budget)
    reason = _unpicklable(subject)
    if not reason:
        return whole
    rebuild = subject.meta.get(REBUILD)
    if not callable(rebuild) or _unpicklable(rebuild):
        raise SubjectError(
            "the subject cannot be sent to other processes",
            where=f"subject {subject.name}",
            value=reason,
            why="every worker needs its own copy",
            do="use functions that can be imported, or give meta={'rebuild': a function that makes the subject}",
        )
    return replace(whole, subject=None, rebuild=rebuild, probes=dict(subject.probes))


def _unpicklable(thing: object) -> str:
    """Why a thing cannot be pickled; empty if it can."""
    from ray import cloudpickle

    try:
        cloudpickle.dumps(thing)
    except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
        return f"{type(error).__name__}: {error}"
    return ""


@contextmanager
def beacon(path: Path) -> Iterator[str]:
    """A token whose file lies in the run folder inside the block: workers that see it store cells themselves."""
    token = secrets.token_hex(8)
    file = path / beacon_name(token)
    with storing(path):
        file.touch()
    try:
        yield token
    finally:
        file.unlink(missing_ok=True)


def beacon_name(token: str) -> str:
    """Name of the token's file."""
    return f".part-beacon-{token}"


_HERE: dict[str, Order] = {}
"""The order that this worker process holds, by token."""


def make_cell(fetch: Callable[[], Parcel], token: str, work: Work, device: str) -> Outcome:
    """Make one cell in a worker process; whatever is wrong with it is sent back, not raised.

    Args:
        fetch: Gets the parcel; called once per process and order.
        token: The parcel's token.
        work: What to make.
        device: Where the subject computes.
    """
    torch.set_num_threads(1)
    try:
        if token not in _HERE:
            _HERE.clear()
            _HERE[token] = fetch().order(device)
        begun = time.monotonic()
        return replace(_made(_HERE[token], token, work), seconds=time.monotonic() - begun)
    except SusceptometerError as error:
        return Outcome(error=error)


def _made(order: Order, token: str, work: Work) -> Outcome:
    if (order.path / beacon_name(token)).exists():
        return Outcome(data=run_work(order, work)[["loss"]])
    if work.earlier is not None:
        return Outcome(unseen=True)
    return Outcome(data=made(order, work, None), card=card_of(order, work))
