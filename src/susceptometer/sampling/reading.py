"""A reading: the cells of several components around one checkpoint, and what is needed to interpret them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr

from susceptometer.errors import ComponentError, RunError
from susceptometer.posterior.component import Component
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.moments import probe_order
from susceptometer.sampling.recipe import Recipe
from susceptometer.sampling.run import Keep, Progress, run_cell
from susceptometer.types import rows_of, take


@dataclass(frozen=True)
class Reading:
    """Moments of every component's chains (conventions 6.6), ready for the estimators.

    Args:
        subject: Name of the subject.
        recipe: How it was sampled; the same for all components.
        cells: Component name to its cell, all groups joined (dims ``group member draw half token``). May
            load lazily; ``full`` is the run in which all weights move, used by the two-run form.
        tokens: Dataset over ``token`` with coordinates ``probe row position`` (``token_id`` if language).
        provenance: Seed, hashes, versions, command: how to make it again.
    """

    subject: str
    recipe: Recipe
    cells: Mapping[str, xr.Dataset]
    tokens: xr.Dataset
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def components(self) -> list[str]:
        """Names of the restricted components (all cells but ``full``)."""
        return [name for name in self.cells if name != "full"]

    def cell(self, component: str) -> xr.Dataset:
        """All groups of one component.

        Raises:
            ComponentError: The component was not read.
        """
        if component not in self.cells:
            raise ComponentError(
                "component was not read",
                where=f"reading of {self.subject}",
                value=component,
                do=f"read it first, or use one of {sorted(self.cells)[:20]}",
            )
        return self.cells[component]

    @property
    def base(self) -> slice:
        """The tokens of the base probe."""
        return slice(0, int((self.tokens["probe"] == "base").sum()))

    def center_loss(self, probe: str = "base") -> np.ndarray:
        """Losses at w* of a probe's tokens, ``[tokens]`` nats (from the first cell)."""
        chosen = (self.tokens["probe"] == probe).values
        return next(iter(self.cells.values()))["center_loss"].values[chosen]

    def __iter__(self) -> Iterator[tuple[str, xr.Dataset]]:
        return ((name, self.cell(name)) for name in self.components)

    def _repr_html_(self) -> str:
        """Notebook view: the recipe and one row per component."""
        r, rows = self.recipe, []
        for name, cell in self.cells.items():
            failed = int((cell["status"].values != 0).sum())
            sizes = (cell.sizes["group"], cell.sizes["member"], cell.sizes["draw"], failed)
            rows.append(f"<tr><td>{name}</td>" + "".join(f"<td>{n}</td>" for n in sizes) + "</tr>")
        head = "".join(f"<th>{n}</th>" for n in ("component", "groups", "chains each", "draws", "failed"))
        return (
            f"<p>reading of <b>{self.subject}</b>: n_beta {r.n_beta:g}, gamma {r.gamma:g}, "
            f"{type(r.sampler).__name__}, {self.tokens.sizes['token']} tokens</p>"
            f"<table><tr>{head}</tr>{''.join(rows)}</table>"
        )


def token_table(subject: Subject) -> xr.Dataset:
    """Coordinates of every probe token in reading order, with the loss at w* left to the cells.

    Returns:
        Dataset over ``token``: ``probe`` (str), ``row``, ``position`` (int; event index within the row),
        and ``token_id`` (the target token) where probes hold ``tokens``.
    """
    probes, rows, positions, ids = [], [], [], []
    for name in probe_order(list(subject.probes)):
        batch = subject.probes[name]
        count, events = rows_of(batch), subject.center_loss(take(batch, torch.zeros(1, dtype=torch.int64))).numel()
        probes.append(np.full(count * events, name, dtype=object))
        rows.append(np.repeat(np.arange(count), events))
        positions.append(np.tile(np.arange(events), count))
        if "tokens" in batch:
            ids.append(batch["tokens"][:, -events:].reshape(-1).cpu().numpy())
    coords = {
        "probe": ("token", np.concatenate(probes).astype(str)),
        "row": ("token", np.concatenate(rows)),
        "position": ("token", np.concatenate(positions)),
    }
    if ids:
        coords["token_id"] = ("token", np.concatenate(ids))
    return xr.Dataset(coords=coords)


def read_here(
    subject: Subject,
    components: Mapping[str, Component],
    recipe: Recipe,
    *,
    seed: int,
    keep: Keep | None = None,
    progress: Progress | None = None,
) -> Reading:
    """Sample components one after the other in this process and keep everything in memory.

    The stored, resumable door is ``susceptometer.read``; this one serves tests, notebooks and the testbed.

    Args:
        subject: What is read.
        components: Name to component; the name ``full`` marks the run of all weights.
        recipe: How.
        seed: Names all random streams.
        keep: What to store beyond moments.
        progress: Told (steps done, steps in all) per component.

    Raises:
        RunError: No component is given.
    """
    if not components:
        raise RunError("no component to read", where=subject.name, do="pass at least one component")
    groups = range(recipe.schedule.groups)
    cells = {}
    for name, component in components.items():
        posterior = LocalPosterior(subject, component, recipe.n_beta, recipe.gamma)
        cells[name] = run_cell(posterior, recipe.of(name), seed=seed, groups=groups, keep=keep, progress=progress)
    return Reading(subject.name, recipe, cells, token_table(subject), {"seed": seed})
