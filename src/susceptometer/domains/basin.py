r"""A solution as a basin of the local posterior, and the three meanings of "data change its learning coefficient".

For a solution A with trained weights w_A, probe j with density ratio r_j and D_j = E_x[(r_j(x) - 1) l_x] (loss of the
probe minus that of the base data), the rows of a response matrix chi with d mu = n_beta chi dh are

    fixed      mu = n_beta E_A[L - L(w_A)], the observable held fixed      n_beta chi_Aj,   chi_Aj = -Cov_A(L, D_j)
    total      the same of the shifted loss                                n_beta chi_Aj + E_A[D_j] - D_j(w_A)
    log-odds   mu = log Z_A/Z_B against a reference solution B             E_B[D_j] - E_A[D_j]

All follow from log Z = log int exp(-n_beta L - (gamma/2) |w - w_A|^2) under L -> L + sum_j h_j D_j (derived; the
covariance form is baker2025's).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from susceptometer.estimate.convergence import trace_health
from susceptometer.estimate.estimate import healthy_groups
from susceptometer.patterning.response import Response, response
from susceptometer.sampling.reading import Reading

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Basin:
    """Moments around one solution, or around several of one kind (`pooled`); a group is one independent replicate.

    chi: -Cov[L, D_j] of every group ``[groups, probes]``, nats^2.
    mean: E_A[D_j] ``[groups, probes]``, nats.
    center: D_j(w_A) ``[groups, probes]``, nats.
    llc: n_beta (E_A[L] - L(w_A)) ``[groups]``.
    rhat: Largest R-hat of the loss.
    n_beta: Inverse temperature of the chains, 1/nats.
    """

    chi: Array
    mean: Array
    center: Array
    llc: Array
    rhat: float
    n_beta: float

    def relabelled(self, order: Sequence[int] | NDArray[np.int64]) -> "Basin":
        """The same basin with its probes in another order."""
        return replace(self, **{name: getattr(self, name)[:, order] for name in ("chi", "mean", "center")})

    @property
    def arrays(self) -> dict[str, NDArray]:
        """Everything as arrays, for keeping; `from_arrays` is the inverse."""
        return {name: np.asarray(value) for name, value in vars(self).items()}


def from_arrays(stored: Mapping[str, NDArray]) -> Basin:
    """The basin kept as ``Basin.arrays``."""
    return Basin(**{name: value if value.ndim else float(value) for name, value in stored.items()})  # type: ignore[arg-type]


def basin(reading: Reading, density: Array) -> Basin:
    """Moments of the one component of a reading.

    Args:
        reading: Chains of one component; its base probe holds one loss per row.
        density: r_j of every row ``[probes, rows]``, mean one over the rows of each probe.

    Raises:
        ChainError: A chain failed, or fewer than four groups are left.
    """
    (name,) = reading.components
    cell = healthy_groups(reading.cell(name), name)
    tilt = (density - 1).T / density.shape[1]
    rise = cell["sum_l"].to_numpy()[:, reading.base] / (cell.sizes["member"] * cell.sizes["draw"])
    center = cell["center_loss"].to_numpy()[reading.base] @ tilt
    return Basin(
        chi=response(reading).replicates[:, 0] @ tilt,
        mean=rise @ tilt + center,
        center=np.broadcast_to(center, (len(rise), len(center))).copy(),
        llc=reading.recipe.n_beta * cell["loss"].mean(("member", "draw")).to_numpy(),
        rhat=trace_health(cell)[1],
        n_beta=reading.recipe.n_beta,
    )


def pooled(basins: Sequence[Basin]) -> Basin:
    """Several solutions of one kind: each becomes one group, so errors include the spread between solutions."""
    names = ("chi", "mean", "center", "llc")
    means = {name: np.stack([getattr(one, name).mean(0) for one in basins]) for name in names}
    return Basin(**means, rhat=max(one.rhat for one in basins), n_beta=basins[0].n_beta)


def meanings(basins: Mapping[str, Basin], reference: str, probes: Sequence[object]) -> Response:
    """Rows ``fixed A``, ``total A`` of every basin and ``log-odds A`` of every basin against ``reference``.

    Group g of a basin is paired with group g of the reference. Columns are the probes; as data they are groups of base
    strings, so their share is stated as equal and the plan's linear dh is meant (see ``parentheses_probes``).
    """
    base, rows = basins[reference], {}
    for name, one in basins.items():
        rows[f"fixed {name}"] = one.n_beta * one.chi
        rows[f"total {name}"] = one.n_beta * one.chi + one.mean - one.center
        if name != reference:
            rows[f"log-odds {name}"] = base.mean - one.mean
    share = np.full(len(probes), 1 / len(probes))
    data = xr.Dataset(coords={"probe": ("datum", np.array([str(p) for p in probes]))})
    return Response(np.stack(list(rows.values()), 1), tuple(rows), base.n_beta, share, data, unit="1")
