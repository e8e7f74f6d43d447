"""The two contraction tests that need more runs: values at h against h/2, and curvature where the chains go."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import xarray as xr

from susceptometer.errors import RecipeError, RunError
from susceptometer.estimate.contraction import h_dependence
from susceptometer.estimate.surroundings import surroundings
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.reading import Reading
from susceptometer.sampling.run import run_cell

GROUPS = 8
"""Groups that are run again at h/2, at most."""


@dataclass(frozen=True)
class _Examined(Mapping[str, xr.Dataset]):
    """Cells with the outcome of further tests among their attributes."""

    cells: Mapping[str, xr.Dataset]
    found: Mapping[str, Mapping[str, float]]

    def __getitem__(self, name: str) -> xr.Dataset:
        return self.cells[name].assign_attrs(self.found.get(name, {}))

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


def examine(subject: Subject, reading: Reading, components: Sequence[str] | None = None) -> Reading:
    """The reading with tests 4 and 5 of conventions 7.7 made on its components.

    Up to `GROUPS` stored groups walk again at h/2 with their own noise and mini-batches, read on the base probe only,
    and the curvature of L is taken at draws of three short chains. `check`, `susceptibility` and
    `susceptibility_coupled` then judge by all five tests. Cost: about ``GROUPS/groups`` of the reading itself.

    Args:
        subject: The subject that was read.
        reading: A reading with response arms.
        components: Which; all that were read by default.

    Raises:
        RecipeError: The chains have no response arms.
        RunError: The reading does not tell its seed, or belongs to another subject.
    """
    if not reading.recipe.coupling.responds:
        raise RecipeError(
            "the chains have no response arms",
            where=f"reading of {reading.subject}",
            value=reading.recipe.coupling,
            why="the tests compare responses to n_beta",
            do="read with coupling=coupled(0.1)",
        )
    if "seed" not in reading.provenance:
        raise RunError(
            "the reading does not tell its seed",
            where=f"reading of {reading.subject}",
            why="h and h/2 are compared on the same noise",
            do="read again with this version",
        )
    lean = replace(subject, probes={"base": subject.probes["base"]})
    names = reading.components if components is None else components
    found = {name: _tests(lean, reading, name) for name in names}
    return replace(reading, cells=_Examined(reading.cells, found))


def _tests(subject: Subject, reading: Reading, name: str) -> dict[str, float]:
    recipe, seed = reading.recipe, int(str(reading.provenance["seed"]))
    posterior = LocalPosterior(subject, subject.components[name], recipe.n_beta, recipe.gamma)
    cell = reading.cell(name)
    cell = cell.isel(group=(cell["status"].values == 0).nonzero()[0][:GROUPS])
    plan = replace(recipe, coupling=recipe.coupling.halved())
    half = run_cell(posterior, plan, seed=seed, groups=cell["group"].values.tolist())
    near = surroundings(posterior, recipe, seed=seed)
    curvature = near.tests(recipe) if near is not None else {}
    return h_dependence(cell, half) | curvature
