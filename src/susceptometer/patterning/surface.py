"""Do the weights only repeat something visible on the surface? Weights beside length, frequency, position, pattern."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from susceptometer.errors import DataError
from susceptometer.patterning.plan import DEFAULT_CLIP, Plan, along
from susceptometer.patterning.weighting import Clip
from susceptometer.structure.patterns import PATTERNS, token_patterns

Array = NDArray[np.float64]


def token_features(plan: Plan, strings: Sequence[str]) -> dict[str, Array]:
    """Surface features of the planned tokens, ``[data]`` each: length, frequency, position, one flag per pattern.

    Args:
        plan: Per token, with coordinates ``row position token_id``.
        strings: String of every token id.

    Raises:
        DataError: The plan is not per token, or its rows are not complete.
    """
    data = plan.response.data
    if "token_id" not in data.coords or "row" not in data.coords:
        raise DataError(
            "these data are not tokens",
            where="token_features",
            value=list(data.coords),
            do="give your own features: name -> number per datum",
        )
    ids = data["token_id"].to_numpy()
    rows = len(pd.unique(data["row"].to_numpy()))
    table = ids.reshape(rows, -1)
    texts = [[strings[i] for i in line] for line in table.tolist()]
    flags = token_patterns(texts, table).reshape(len(PATTERNS), -1)
    counts = np.bincount(ids)
    found = {
        "length (characters)": np.array([len(strings[i]) for i in ids], float),
        "log frequency": np.log(counts[ids]),
        "position": data["position"].to_numpy().astype(float),
    }
    return found | {f"pattern: {name}": flag.astype(float) for name, flag in zip(PATTERNS, flags, strict=True)}


def surface(plan: Plan, features: Mapping[str, ArrayLike], *, clip: Clip | None = DEFAULT_CLIP) -> pd.DataFrame:
    """One row per feature, the one that tells most first: how far it alone gives the weights and their effect.

    Columns: ``correlation`` (Pearson) of the weights with the feature and its error; ``rank`` correlation;
    ``explained``: share of the weights' variance that ten equal groups of the feature explain (0.05 or less is
    noise for few data); ``baseline`` +- ``baseline error``: predicted response along the target of the one-feature
    plan, dh proportional to the centred feature with the same norm and the better sign, where the plan itself has
    ``plan``.

    Raises:
        DataError: A feature has not one number per datum.
    """
    rho = plan.rho(clip=clip)
    whole = along(plan.predicted(clip=clip), plan.target)[0]
    rows = [_row(plan, name, np.asarray(values, float), rho) for name, values in features.items()]
    table = pd.DataFrame(rows)
    table["plan"] = whole
    return table.sort_values("explained", ascending=False, ignore_index=True)


def one_feature(plan: Plan, feature: ArrayLike) -> Array:
    """dh ``[data]`` of the one-feature baseline: the centred feature with the norm of the plan's own dh."""
    values = np.asarray(feature, float)
    centred = values - values.mean()
    size = float(np.linalg.norm(centred))
    sign = 1.0 if centred @ plan.shift >= 0 else -1.0
    return sign * centred * (float(np.linalg.norm(plan.shift)) / size if size else 0.0)


def _row(plan: Plan, name: str, values: Array, rho: Array) -> dict[str, float | str]:
    if values.shape != rho.shape or not np.isfinite(values).all():
        raise DataError(
            "a feature has not one finite number per datum",
            where="surface",
            value=f"{name}: {values.shape}",
            do=f"give {len(rho)} numbers",
        )
    effect, error = _predicted(plan, one_feature(plan, values))
    linear = float(np.corrcoef(values, rho)[0, 1]) if values.std() > 0 else 0.0
    return {
        "feature": name, "correlation": linear, "error": (1 - linear**2) / np.sqrt(max(1, len(rho) - 3)),
        "rank": float(stats.spearmanr(values, rho).statistic) if values.std() > 0 else 0.0,
        "explained": _explained(values, rho), "baseline": effect, "baseline error": error,
    }  # fmt: skip


def _explained(values: Array, rho: Array) -> float:
    """Share of the variance of ``rho`` between ten groups of equal size (or the levels, if fewer)."""
    levels = np.unique(np.quantile(values, np.linspace(0, 1, 11)[1:-1]))
    index = np.searchsorted(levels, values, side="right")
    count = np.bincount(index).astype(float)
    means = np.bincount(index, rho) / np.maximum(count, 1)
    return float(count @ (means - rho.mean()) ** 2 / max(1e-300, ((rho - rho.mean()) ** 2).sum()))


def _predicted(plan: Plan, shift: Array) -> tuple[float, float]:
    """Response along the target of a dh that owes nothing to chi: every group predicts it without bias."""
    unit = plan.target / float(plan.target @ plan.target)
    each = plan.response.n_beta * (plan.response.replicates @ shift) @ unit
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))
