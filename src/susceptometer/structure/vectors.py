"""Vectors of tokens that come without chains (upsampled, synthetic) in the shape of an estimate."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from susceptometer.estimate.estimate import Estimate


def as_estimate(
    vectors: NDArray[np.floating], tokens: Mapping, *, names: Sequence[str], error: float = np.nan
) -> Estimate:
    """Vectors ``[tokens, coordinates]`` as an estimate of dims component x token, for `cluster`, cards and export.

    Args:
        vectors: Any numbers per token.
        tokens: Coordinates over ``token``: ``probe``, ``row``, ``position``, ``token_id`` where known.
        names: Of the coordinates, in the place of component names.
        error: Standard error of every value; NaN where unknown.
    """
    value = np.ascontiguousarray(vectors.T)
    dims = ("component", "token")
    data = xr.Dataset(
        {"value": (dims, value), "error": (dims, np.full_like(value, error))},
        {"component": list(names)},
    )
    return Estimate("chi", data.assign_coords(tokens), 2, "predicted")
