"""Are the chains healthy? One table in numbers and words; sick chains never become a silent estimate."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from susceptometer.errors import ChainError
from susceptometer.estimate.contraction import contraction
from susceptometer.estimate.convergence import motionless, normal_score, trace_health
from susceptometer.estimate.examine import examine
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.reading import Reading
from susceptometer.sampling.recipe import Recipe

RHAT_LIMIT, DRIFT_LIMIT, BELOW_LIMIT, ESS_FLOOR = 1.1, 3.0, 0.25, 50.0


@dataclass(frozen=True)
class Health:
    """Health of one component's chains.

    Args:
        component: Its name.
        groups: Groups run, and how many of them failed.
        failed: Number of failed groups.
        rhat: Rank-normalised split R-hat of the loss trace over groups.
        ess: Effective draws, all groups together.
        drift_z: Second minus first half of the loss trace, as a normal score over groups.
        below: Share of draws whose loss lies below L(w*).
        faults: What is wrong, in words; empty if healthy.
        notes: What a reader should know although it is not wrong.
    """

    component: str
    groups: int
    failed: int
    rhat: float
    ess: float
    drift_z: float
    below: float
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """Health of all components of a reading; prints as one table."""

    rows: tuple[Health, ...]

    @property
    def healthy(self) -> bool:
        """Whether no component has a fault."""
        return not any(row.faults for row in self.rows)

    def raise_if_failed(self) -> None:
        """Stop with the first faults in words.

        Raises:
            ChainError: Some component is sick.
        """
        sick = [f"{row.component}: {'; '.join(row.faults)}" for row in self.rows if row.faults]
        if sick:
            raise ChainError(
                f"{len(sick)} of {len(self.rows)} components are sick",
                value=" | ".join(sick[:5]),
                why="their estimates would not mean what they say",
                do="see `susceptometer doctor RUN`",
            )

    def __repr__(self) -> str:
        head = (
            f"{'component':<28} {'groups':>6} {'failed':>6} {'R-hat':>6} {'ESS':>7} {'drift':>6} {'below':>6}  verdict"
        )
        lines = [
            f"{r.component:<28} {r.groups:>6} {r.failed:>6} {r.rhat:>6.3f} {r.ess:>7.0f} {r.drift_z:>6.1f} "
            f"{r.below:>6.0%}  {'; '.join(r.faults) or 'ok'}"
            for r in self.rows
        ]
        return "\n".join([head, *lines])


def check(reading: Reading, subject: Subject | None = None) -> Check:
    """R-hat, effective draws, drift, failures and contraction of every component (learning-coefficient 9).

    Args:
        reading: What is judged.
        subject: If given, coupled components also undergo the tests that need more runs (see ``examine``).
    """
    if subject is not None and reading.recipe.coupling.responds:
        reading = examine(subject, reading)
    return Check(tuple(health(reading.cell(name), name, reading.recipe) for name in reading.cells))


def health(cell: xr.Dataset, component: str, recipe: Recipe) -> Health:
    """Health of one cell."""
    failed = int((cell["status"].values != 0).sum())
    well = cell.isel(group=np.flatnonzero(cell["status"].values == 0))
    ess, rhat = trace_health(well) if well.sizes["group"] else (0.0, float("nan"))
    drift = drift_z(well)
    below = float((well["loss"] < 0).mean()) if well.sizes["group"] else float("nan")
    numbers = Health(component, cell.sizes["group"], failed, rhat, ess, drift, below, ())
    faults = [*_failures(cell), *_stillness(well), *_trace_faults(numbers)]
    if recipe.coupling.responds and well.sizes["group"] and well.sizes["half"]:
        faults += [f"coupled chains do not contract ({f})" for f in contraction(well, recipe).faults]
    return Health(**{**vars(numbers), "faults": tuple(faults), "notes": tuple(_notes(numbers))})


def drift_z(cell: xr.Dataset) -> float:
    """Mean loss of the second half minus the first, over groups, as a normal score."""
    trace = cell["loss"].mean("member").values
    half = trace.shape[1] // 2
    if half < 1 or len(trace) < 2:
        return float("nan")
    return normal_score(trace[:, half:].mean(1) - trace[:, :half].mean(1))


def _failures(cell: xr.Dataset) -> list[str]:
    words = {1: "became non-finite", 2: "left the neighbourhood of w*"}
    return [
        f"{int((cell['status'] == code).sum())} groups {text} (first at step "
        f"{int(cell['failed_step'].values[cell['status'].values == code].min())}): "
        "lower step_size or raise gamma"
        for code, text in words.items()
        if (cell["status"] == code).any()
    ]


def _stillness(cell: xr.Dataset) -> list[str]:
    still = int(motionless(cell).sum())
    if not still:
        return []
    seen = f"{still} of {cell.sizes['group']} groups never moved (the same loss at every draw)"
    return [f"{seen}: raise step_size, or the loss does not depend on this component"]


def _trace_faults(row: Health) -> list[str]:
    out = []
    if row.rhat > RHAT_LIMIT:
        out.append(f"R-hat {row.rhat:.2f} > {RHAT_LIMIT}: groups disagree, run longer or burn in longer")
    if abs(row.drift_z) > DRIFT_LIMIT and row.groups >= 4:
        out.append(f"loss drifts by {row.drift_z:.1f} errors between halves: raise burn_in")
    return out


def _notes(row: Health) -> list[str]:
    out = []
    if row.below > BELOW_LIMIT:
        out.append(f"{row.below:.0%} of draws lie below L(w*): w* is no minimum for this component")
    if row.ess < ESS_FLOOR:
        out.append(f"only {row.ess:.0f} effective draws")
    return out
