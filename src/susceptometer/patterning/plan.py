"""A plan: which data to weigh up or down for a wanted change inside the network, and what to expect from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from susceptometer.errors import ChainError, DataError, RecipeError
from susceptometer.estimate.estimate import Estimate
from susceptometer.patterning.inverse import (
    Directions,
    Inversion,
    agreement,
    chosen,
    coefficients,
    directions,
)
from susceptometer.patterning.limits import Limits, within
from susceptometer.patterning.response import Response, response
from susceptometer.patterning.summary import html, text
from susceptometer.patterning.weighting import (
    Clip,
    clipped_share,
    effective_size,
    realised,
    weights_of,
)
from susceptometer.sampling.reading import Reading
from susceptometer.train.weighted_data import DataWeights
from susceptometer.types import Batch, rows_of

Array = NDArray[np.float64]
Target = Mapping[str, float] | xr.DataArray | ArrayLike

DEFAULT_CLIP = Clip()


def plan(
    source: Response | Reading,
    target: Target,
    *,
    how: Inversion | None = None,
    limits: Limits | None = None,
) -> "Plan":
    r"""Which change of the data should move the observables by ``target`` (wang2026): dh = chi^+ dmu / n_beta.

    Args:
        source: A response matrix, or a reading, whose components' losses L - L(w*) are then the observables and the
            tokens of its base probe the data.
        target: dmu. A mapping asks for these observables and leaves the others free; an array, or a `DataArray`
            labelled by observable (a principal head pattern), asks for all of them. Units of the observables.
        how: How chi is inverted; None: noise-corrected, unresolved directions refused, ridge by stability.
        limits: Bounds and budget, met exactly by a convex program; None: the linear plan, clipped when weights are
            made from it.

    Raises:
        DataError: The target fits no observable or is zero.
        ChainError: Fewer than four chain groups, or no direction stands out of its error.
    """
    found = source if isinstance(source, Response) else response(source)
    asked, wanted = _asked(found, target)
    rule = how or Inversion()
    used = directions(asked.replicates, rule)
    if not used.inverted.any():
        raise ChainError(
            "nothing that was asked stands out of its error",
            where="plan",
            value=(used.strength / used.error).tolist(),
            why="weights from it would re-weight at random",
            do="run more chain groups, or ask for a stronger direction",
        )
    rule = chosen(asked.replicates, wanted / asked.n_beta, used, rule)
    return Plan(asked, wanted, rule, used, limits)


@dataclass(frozen=True, eq=False)
class Plan:
    """Made by `plan`. ``strength`` multiplies the target; at strength one the plan asks for ``target``.

    Args:
        response: Rows that the target names.
        target: dmu ``[observables]``.
        how: The inversion, with its ridge.
        used: Principal directions and which are inverted.
        limits: Bounds of the convex program, or None.
        clamped: Data whose weight stays one ``[data]``, or None.
    """

    response: Response
    target: Array
    how: Inversion
    used: Directions
    limits: Limits | None = None
    clamped: NDArray[np.bool_] | None = None

    @cached_property
    def shift(self) -> Array:
        """dh ``[data]`` at strength one: shares of the training distribution moved towards each datum."""
        return self.shift_from(np.arange(self.response.groups), 1.0)

    def shift_from(self, groups: NDArray[np.integer], strength: float) -> Array:
        """dh ``[data]`` from some chain groups alone; the cross-checks are made of these."""
        part, wanted = self.response.replicates[groups], strength * self.target / self.response.n_beta
        if self.clamped is not None:
            part = np.where(self.clamped, 0.0, part)
        y, chi = coefficients(part, wanted, self.used, self.how), part.mean(0)
        if self.limits is None:
            return chi.T @ y
        return within(chi, chi @ (chi.T @ y), self.response.share, self.limits)

    def rho(self, strength: float = 1.0, clip: Clip | None = DEFAULT_CLIP) -> Array:
        """Weight of every datum in the loss ``[data]``, mean one over the base distribution.

        For data from outside the base distribution, the share of the new mixture that each of them gets.

        Args:
            strength: Multiple of the target.
            clip: Bounds of the weights; None leaves negative ones.
        """
        return weights_of(self._at(strength), self.response.share, clip)

    def predicted(self, strength: float = 1.0, clip: Clip | None = DEFAULT_CLIP) -> Estimate:
        r"""Predicted change of every observable, after clipping, with the Monte-Carlo error of chi.

            value = mean over groups g of  n_beta chi_g dh_{-g}

        where dh_{-g} is the plan made without group g: the chains that predict have not been seen by the plan, so the
        prediction is not flattered by their common noise (``in_sample`` is, and equals the target where all
        directions are inverted). First order in the strength.

        Shapes:
            returns     observable (value, error, in_sample, target)
        """
        groups, scale = self.response.groups, self.response.n_beta
        found = []
        for g in range(groups):
            part = self.shift_from(np.delete(np.arange(groups), g), strength)
            found.append(scale * self.response.replicates[g] @ realised(part, self.response.share, clip))
        each = np.stack(found)
        whole = realised(self._at(strength), self.response.share, clip)
        parts = {
            "value": each.mean(0), "error": each.std(0, ddof=1) / np.sqrt(groups),
            "in_sample": scale * self.response.chi @ whole, "target": strength * self.target,
        }  # fmt: skip
        names = {"observable": list(self.response.observables)}
        data = xr.Dataset({k: ("observable", v) for k, v in parts.items()}, names)
        return Estimate("predicted change", data, groups, f"{self.response.unit}/nats")

    @cached_property
    def agreement(self) -> Array:
        """Correlation of dh between disjoint halves of the chains, three splits ``[3]``."""
        wanted = self.target / self.response.n_beta
        return agreement(self.response.replicates, wanted, self.used, self.how)

    def sweep(self, strengths: Sequence[float], clip: Clip | None = DEFAULT_CLIP) -> pd.DataFrame:
        """One row per strength: spread and effective size of weights, share clipped, response along the target."""
        return pd.DataFrame([self._swept(strength, clip) for strength in strengths])

    def clamp(self, keep: NDArray[np.bool_]) -> "Plan":
        """The plan that leaves the data ``keep`` ``[data]`` at weight one (a suspicious subset, wang2026b).

        Raises:
            DataError: The mask does not fit, or keeps everything.
        """
        if keep.shape != self.response.share.shape or keep.all():
            raise DataError(
                "a clamp must name some of the data",
                where="Plan.clamp",
                value=(keep.shape, int(keep.sum())),
                why=f"the plan has {len(self.response.share)} data",
                do="give a boolean per datum, not all true",
            )
        return replace(self, clamped=keep)

    def extremes(self, count: int = 10, *, strings: Sequence[str] | None = None) -> pd.DataFrame:
        """The most down- and up-weighted data with their coordinates, lightest first (``strings`` by token id)."""
        order = np.argsort(self.shift, kind="stable")
        index = np.concatenate([order[:count], order[-count:]])
        named = {str(k): v.to_numpy() for k, v in self.response.data.coords.items() if v.dims == ("datum",)}
        coords = {name: values[index] for name, values in named.items() if name != "datum"}
        table = pd.DataFrame({"weight": self.rho(clip=None)[index], "dh": self.shift[index], **coords})
        if strings is not None and "token_id" in table:
            table.insert(1, "text", [repr(strings[int(i)]) for i in table["token_id"]])
        return table

    def weights(self, data: Batch, strength: float = 1.0, clip: Clip | None = DEFAULT_CLIP) -> DataWeights:
        """Weights in the shape of the data: one per token ``[rows, events]`` or per example ``[rows]``.

        Args:
            data: The rows that were measured (`Subject.data`), ``tokens [rows, K]`` or any tensors.
            strength: Multiple of the target.
            clip: Bounds; None keeps negative weights, which training must then be told how to treat.

        Raises:
            DataError: The data are not those of the response.
        """
        rows, values = rows_of(data), self.rho(strength, clip)
        if len(values) % rows or (len(values) > rows and not self._same(data)):
            raise DataError(
                "these data were not measured",
                where="Plan.weights",
                value=f"{rows} rows, {len(values)} weights",
                why="chi is known for the tokens that were read, and for no others",
                do="plan on a reading whose base probe is this data, or carry the weights over with a WeightModel",
            )
        about = {"strength": float(strength), "n_beta": self.response.n_beta, "ridge": float(self.how.ridge or 0)}
        return DataWeights(values if len(values) == rows else values.reshape(rows, -1), about)

    def __repr__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return html(self)

    def _at(self, strength: float) -> Array:
        if self.limits is None:
            return strength * self.shift
        return self.shift_from(np.arange(self.response.groups), strength)

    def _swept(self, strength: float, clip: Clip | None) -> dict[str, float]:
        free, used = self.rho(strength, None), self.rho(strength, clip)
        before, after = (along(self.predicted(strength, c), self.target) for c in (None, clip))
        inside = self.response.share > 0
        base = inside if inside.any() else np.ones_like(inside)
        return {
            "strength": strength, "sd of weights": float(used[base].std()), "clipped": clipped_share(free[base], clip),
            "effective size": effective_size(used[base]), "unclipped": before[0], "predicted": after[0],
            "error": after[1],
        }  # fmt: skip

    def _same(self, data: Batch) -> bool:
        """Whether token rows are those of the response (targets are the last events of each row)."""
        if "tokens" not in data or "token_id" not in self.response.data.coords:
            return True
        known = self.response.data["token_id"].to_numpy().reshape(rows_of(data), -1)
        return bool((data["tokens"][:, -known.shape[1] :].cpu().numpy() == known).all())


def along(change: Estimate, target: Array) -> tuple[float, float]:
    """Part of a change along the target, in units of the target: 1 is what was asked; with its standard error.

    Errors of the observables are taken as independent (each has its own chains).
    """
    unit = target / float(target @ target)
    return float(unit @ change.value.to_numpy()), float(np.sqrt(unit**2 @ change.error.to_numpy() ** 2))


def _asked(found: Response, target: Target) -> tuple[Response, Array]:
    if isinstance(target, xr.DataArray):
        names = [str(name) for name in target[target.dims[0]].to_numpy()]
        target = dict(zip(names, np.asarray(target.to_numpy(), dtype=float), strict=True))
    if isinstance(target, Mapping):
        found, wanted = found.rows(list(target)), np.array(list(target.values()), dtype=float)
    else:
        wanted = np.asarray(target, dtype=float)
    if wanted.shape != (len(found.observables),) or not np.isfinite(wanted).all():
        raise DataError(
            "the target does not fit the observables",
            where="plan",
            value=wanted.tolist(),
            why=f"one finite number for each of {list(found.observables)[:8]}",
            do="give a mapping of names to changes",
        )
    if not wanted.any():
        raise RecipeError("the target is zero", where="plan", do="ask for a change")
    return found, wanted
