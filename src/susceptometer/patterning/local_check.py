"""Before any training: does the local posterior under the re-weighted loss answer as the plan predicts?

Chains under the planned weights and chains under none share all noise and mini-batches, group by group, so that
their difference is the answer to the weights alone. Agreement tests chi, its error and the arithmetic of the plan;
what retraining then does is another question (w* itself moves).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from susceptometer.errors import DataError
from susceptometer.estimate.estimate import Estimate, healthy_groups
from susceptometer.patterning.plan import Plan
from susceptometer.posterior.component import Component
from susceptometer.posterior.stages import Stages
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.reading import Reading, read_here
from susceptometer.sampling.recipe import Recipe
from susceptometer.train.weighted_data import DataWeights
from susceptometer.types import Batch, Carry, LossFn, Params, rows_of

Array = NDArray[np.float64]
WEIGHTS = "weights"


@dataclass(frozen=True)
class WeightedLoss:
    """A loss whose rows or tokens count with ``batch["weights"]`` where the batch has them; probes have none."""

    loss: LossFn

    def __call__(self, params: Params, batch: Batch) -> Tensor:
        """``weights * loss(params, batch)``: ``[rows, *event]``."""
        losses = self.loss(params, batch)
        return losses if WEIGHTS not in batch else losses * _fitted(batch[WEIGHTS], losses)


@dataclass(frozen=True)
class WeightedStages:
    """Stages of the same weighted loss: the weights of a row travel in its carry."""

    stages: Stages

    def serves(self, component: Component) -> bool:
        """As the stages inside."""
        return self.stages.serves(component)

    def prefix(self, component: Component, batch: Batch) -> Carry:
        """The carry of the stages inside, with the weights ``[rows(, event)]`` where there are any."""
        plain = {name: value for name, value in batch.items() if name != WEIGHTS}
        carry = self.stages.prefix(component, plain)
        return carry if WEIGHTS not in batch else {**carry, WEIGHTS: batch[WEIGHTS]}

    def losses(self, component: Component, weights: Tensor, carry: Carry, rows: Tensor | None) -> Tensor:
        """Weighted losses ``[chains, m, *event]``."""
        plain = {name: value for name, value in carry.items() if name != WEIGHTS}
        losses = self.stages.losses(component, weights, plain, rows)
        if WEIGHTS not in carry:
            return losses
        seen = carry[WEIGHTS] if rows is None else carry[WEIGHTS][rows]
        return losses * (_fitted(seen, losses[0]) if rows is None else _fitted(seen, losses))


def _fitted(weights: Tensor, losses: Tensor) -> Tensor:
    return weights.to(losses).reshape(weights.shape + (1,) * (losses.ndim - weights.ndim))


def reweighted(subject: Subject, weights: DataWeights) -> Subject:
    """The same subject with its data weighted in the potential; probes and w* are unchanged.

    Raises:
        DataError: There are not as many weights as data rows.
    """
    if rows_of(subject.data) != len(weights):
        raise DataError(
            "weights and data differ in rows",
            where=f"subject {subject.name}",
            value=(len(weights), rows_of(subject.data)),
            why="each row of the potential needs its own weight",
            do="make the weights from subject.data",
        )
    data = {**subject.data, WEIGHTS: weights.tensor().to(next(iter(subject.params.values())).dtype)}
    stages = None if subject.stages is None else WeightedStages(subject.stages)
    return replace(subject, data=data, loss=WeightedLoss(subject.loss), stages=stages)


@dataclass(frozen=True, eq=False)
class LocalCheck:
    """Predicted and re-sampled change of every observable at one strength.

    Args:
        predicted: Of the plan, for these weights.
        measured: Half the difference between chains at +strength and -strength (same noise), so that the answer of
            second order cancels; with standard errors over groups.
        curvature: Half their sum minus the unweighted chains: the second order.
        strength: Multiple of the target.
    """

    predicted: Estimate
    measured: Estimate
    curvature: Estimate
    strength: float

    @property
    def z(self) -> Array:
        """(measured - predicted) in joint standard errors ``[observables]``."""
        gap = self.measured.value.to_numpy() - self.predicted.value.to_numpy()
        return gap / np.hypot(self.measured.error.to_numpy(), self.predicted.error.to_numpy())

    def slope(self) -> tuple[float, float]:
        """Regression of measured on predicted through zero, weighted by the measured errors; one is agreement.

        Its error holds both sides' errors.
        """
        x, y = self.predicted.value.to_numpy(), self.measured.value.to_numpy()
        dx, dy = self.predicted.error.to_numpy(), self.measured.error.to_numpy()
        weight = 1 / np.maximum(dy**2 + dx**2, 1e-300)
        value = float((weight * x * y).sum() / (weight * x * x).sum())
        error = float(np.sqrt((weight**2 * x**2 * (dy**2 + value**2 * dx**2)).sum()) / (weight * x * x).sum())
        return value, error

    def __repr__(self) -> str:
        value, error = self.slope()
        rows = zip(self.predicted.data["observable"].to_numpy(), self.predicted.value.to_numpy(),
                   self.predicted.error.to_numpy(), self.measured.value.to_numpy(), self.measured.error.to_numpy(),
                   self.z, strict=True)  # fmt: skip
        lines = [f"  {n:<28} {p:+.3e} ± {dp:.1e}   {m:+.3e} ± {dm:.1e}   z {z:+.1f}" for n, p, dp, m, dm, z in rows]
        head = f"local check at strength {self.strength:g}: measured/predicted {value:.3f} ± {error:.3f}"
        return "\n".join([head, "  observable                   predicted               re-sampled", *lines])


def local_check(
    plan: Plan,
    subject: Subject,
    recipe: Recipe,
    *,
    seed: int,
    strength: float = 1.0,
    components: Mapping[str, Component] | None = None,
) -> LocalCheck:
    r"""Re-sample the posterior of every component under weights of +- strength and compare with the plan.

        measured = ( <phi>_{+a} - <phi>_{-a} ) / 2,   phi_C = Lbar - Lbar(w*) on the unweighted base probe

    Args:
        plan: Of component losses, made from a reading of this subject whose data are the base probe's rows.
        subject: The same.
        recipe: Of the chains; run without response arms, antithetic. Use another ``seed`` than the reading's.
        seed: Names all random streams, shared by the three runs.
        strength: Multiple of the target; weights are not clipped, so that both signs exist.
        components: Of the plan's observables; None looks them up by name.

    Raises:
        ChainError: A chain failed.
        DataError: The weights do not fit the subject's data.
    """
    parts = components or {name: subject.components[name] for name in plan.response.observables}
    still = replace(recipe, coupling=antithetic())
    runs = {}
    for sign in (1.0, -1.0, 0.0):
        weighted = reweighted(subject, plan.weights(subject.data, sign * strength, clip=None)) if sign else subject
        runs[sign] = _rises(read_here(weighted, parts, still, seed=seed))
    odd, even = (runs[1.0] - runs[-1.0]) / 2, (runs[1.0] + runs[-1.0]) / 2 - runs[0.0]
    names = list(plan.response.observables)
    return LocalCheck(
        plan.predicted(strength, clip=None),
        _over_groups("measured change", odd, names),
        _over_groups("second order", even, names),
        strength,
    )


def _rises(reading: Reading) -> Array:
    """E[phi_C] of every group and component, nats ``[groups, components]``."""
    cells = [healthy_groups(reading.cell(name), name) for name in reading.cells]
    return np.stack([cell["loss"].mean(("member", "draw")).to_numpy() for cell in cells], 1)


def _over_groups(name: str, values: Array, observables: list[str]) -> Estimate:
    error = values.std(0, ddof=1) / np.sqrt(len(values))
    data = xr.Dataset(
        {"value": ("observable", values.mean(0)), "error": ("observable", error)}, {"observable": observables}
    )
    return Estimate(name, data, len(values), "nats")
