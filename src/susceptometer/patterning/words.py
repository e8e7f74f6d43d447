"""Plans asked for in words, as on the command line: targets, limits, per token or row, and the weights as a file."""

from collections.abc import Sequence

import numpy as np

from susceptometer.errors import DataError
from susceptometer.patterning.limits import Limits
from susceptometer.patterning.plan import DEFAULT_CLIP, Plan, plan
from susceptometer.patterning.response import Response, response
from susceptometer.sampling.reading import Reading
from susceptometer.train.weighted_data import DataWeights

FORMS = "NAME=CHANGE (nats), llc:NAME=CHANGE, or pair:NUMBER=CHANGE for a principal pair, 1 the strongest"


def plan_in_words(
    reading: Reading, targets: Sequence[str], *, per: str = "token", limits: Limits | None = None
) -> Plan:
    """The plan for targets in words.

    Args:
        reading: Chains.
        targets: Each of the form ``FORMS``; all together are the target. Pairs cannot be mixed with names.
        per: ``token``, ``row`` or ``probe``: what gets a weight.
        limits: Bounds and budget.

    Raises:
        DataError: A target that does not read, or names no component of the reading.
    """
    found = response(reading, probe=None if per == "probe" else "base")
    if per != "token":
        found = found.per(per)
    pairs = [word for word in targets if word.startswith("pair:")]
    if pairs and len(pairs) < len(targets):
        raise DataError("pairs and names are mixed", where="--target", value=list(targets), do=f"use {FORMS}")
    if pairs:
        return plan(found, sum(_pair(found, word) for word in pairs), limits=limits)
    return plan(found, dict(_named(found, word) for word in targets), limits=limits)


def file_weights(made: Plan, per: str, strength: float) -> DataWeights:
    """Weights in the shape of the measured data: ``[rows, events]`` per token, else one per row or probe."""
    values = made.rho(strength, DEFAULT_CLIP)
    about: dict[str, float | str] = {"strength": strength, "per": per, "n_beta": made.response.n_beta}
    if per != "token":
        return DataWeights(values, about | {"names": " ".join(map(str, made.response.data[per].to_numpy()))})
    rows = len(np.unique(made.response.data["row"].to_numpy()))
    return DataWeights(values.reshape(rows, -1), about)


def _number(word: str) -> tuple[str, float]:
    name, _, value = word.rpartition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise DataError("a target does not read", where="--target", value=word, do=f"use {FORMS}") from error


def _named(found: Response, word: str) -> tuple[str, float]:
    name, value = _number(word)
    if name.startswith("llc:"):
        return name.removeprefix("llc:"), value / found.n_beta
    return name, value


def _pair(found: Response, word: str) -> np.ndarray:
    name, value = _number(word)
    left = np.linalg.svd(found.chi, full_matrices=False)[0]
    number = name.removeprefix("pair:")
    if not number.isdigit() or not 1 <= int(number) <= left.shape[1]:
        raise DataError(
            "no such principal pair", where="--target", value=word, do=f"give a number from 1 to {left.shape[1]}"
        )
    return value * left[:, int(number) - 1]
