"""Dataset-level susceptibilities by mixing a probe into the base at rate dh, beside the mean over its tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.estimate.estimate import jackknife
from susceptometer.structure.response import Response

Floats = NDArray[np.floating]
BASE = "base"


def dataset_chi(response: Response, probe: NDArray[np.str_], *, rate: float) -> tuple[list[str], Floats]:
    r"""-Cov[phi, L^{dh} - L] of every probe, from every group (baker2025; conventions 6.4).

        L^{dh} = (1 - dh) L^{base} + dh L^{probe},  so the value is dh times the probe's mean chi less the base's

    The published figure is this finite difference, not divided by dh.

    Args:
        response: chi of all tokens, ``base`` among the probes.
        probe: Probe of every token ``[tokens]``.
        rate: dh, the share of probe rows in the mixture.

    Returns:
        Names of the probes, and values ``[groups, probes, components]`` nats^2.

    Raises:
        DataError: No token is of the base, or no other probe is there.
    """
    names = [name for name in dict.fromkeys(probe.tolist()) if name != BASE]
    if not names or BASE not in probe:
        raise DataError(
            "a mixture needs base and probe tokens",
            where="dataset_chi",
            value=sorted(set(probe.tolist()))[:8],
            why="it is made of both",
            do="read the base and at least one other probe",
        )
    chi = response.matrix()
    base = chi[:, probe == BASE].mean(1)
    mixed = [(1 - rate) * base + rate * chi[:, probe == name].mean(1) for name in names]
    return names, np.stack(mixed, 1) - base[:, None]


@dataclass(frozen=True)
class Agreement:
    """Dataset values against token means.

    Args:
        slope: Least-squares slope of token means on dataset values through 0; 1/dh is expected. Chain noise in the
            dataset values pulls it down.
        error: Delete-one-component jackknife error.
        pearson: Correlation over components for every probe, ``[probes]``.
        shuffled: The same with probes paired wrongly, ``[probes]``.
    """

    slope: float
    error: float
    pearson: Floats
    shuffled: Floats


def dataset_agreement(response: Response, probe: NDArray[np.str_], *, rate: float) -> Agreement:
    """Agreement of dataset values from half of the groups with token means from the other half.

    Components differ by orders of magnitude, so each is divided by its spread over probes first.
    """
    names, mixed = dataset_chi(response, probe, rate=rate)
    chi = response.matrix()[1::2].mean(0)
    base = chi[probe == BASE].mean(0)
    tokens = np.stack([chi[probe == name].mean(0) - base for name in names])
    scale = tokens.std(0) if len(names) > 1 else np.abs(tokens[0])
    x, y = mixed[0::2].mean(0) / scale, tokens / scale
    left = np.array([_slope(np.delete(x, i, 1), np.delete(y, i, 1)) for i in range(x.shape[1])])
    slope, error = jackknife(_slope(x, y), left)
    return Agreement(float(slope), float(error), _rowwise(x, y), _rowwise(x, np.roll(y, 1, axis=0)))


def _slope(x: Floats, y: Floats) -> Floats:
    return np.asarray((x * y).sum() / (x * x).sum())


def _rowwise(x: Floats, y: Floats) -> Floats:
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)])
