"""Numbers of the explorer page in few bytes, with the rounding stated: whole-number codes as base64.

psi travels as signed squares in 16 bits, its error as the logarithm in 8 bits, deviations of chain groups as signed
squares in 8 bits, places on maps as 16-bit steps of the map's width. Squares, because values are heavy-tailed: small
ones get fine steps and large ones coarse ones.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.view.explorer_data import Floats, Frame

KINDS = {"u1": np.uint8, "i1": np.int8, "u2": np.uint16, "i2": np.int16, "u4": np.uint32, "f4": np.float32}

NOTHING = -32768
"""Code of a psi that was not read."""

STEPS, LEVELS, WIDE = 32767, 254, 65535

MOST_REPLICATES = 24_000_000
"""Bytes spent on deviations of chain groups, at most; beyond, means over tokens get an upper bound as their error."""


def packed(array: NDArray, kind: str) -> dict[str, object]:
    """Shape, type and base64 of an array, little-endian."""
    flat = np.ascontiguousarray(array, dtype=np.dtype(KINDS[kind]).newbyteorder("<"))
    return {"shape": list(array.shape), "kind": kind, "bytes": base64.b64encode(flat.tobytes()).decode()}


def packed_counts(array: NDArray) -> dict[str, object]:
    """Whole numbers from 0 in the narrowest type that holds them."""
    largest = int(np.max(array, initial=0))
    return packed(array, "u1" if largest < 1 << 8 else "u2" if largest < 1 << 16 else "u4")


@dataclass(frozen=True)
class Coded:
    """Codes of a matrix ``[rows, ...]`` and the scale of each row."""

    codes: NDArray[np.integer]
    scale: Floats


def coded_psi(psi: Floats) -> Coded:
    """``psi = sign(code) code^2 scale`` in 16 bits ``[components, tokens]``; wrong by ``(|code| + 1/4) scale``."""
    known = np.where(np.isfinite(psi), psi, 0.0)
    scale = _square_scale(np.abs(known).max(axis=1), STEPS)
    return Coded(np.where(np.isfinite(psi), _squares(known, scale), NOTHING).astype(np.int16), scale)


def decoded_psi(coded: Coded) -> Floats:
    """What the page reads back."""
    return np.where(coded.codes == NOTHING, np.nan, _from_squares(coded))


def _square_scale(largest: Floats, steps: int) -> Floats:
    return np.where(largest > 0, largest, 1.0) / float(steps) ** 2


def _squares(values: Floats, scale: Floats) -> Floats:
    return np.sign(values) * np.rint(np.sqrt(np.abs(values) / scale[:, None]))


def _from_squares(coded: Coded) -> Floats:
    codes = coded.codes.astype(float)
    return np.sign(codes) * codes**2 * coded.scale[:, None]


def coded_error(error: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """8-bit logarithms of errors ``[components, tokens]`` and their ends ``[components, 2]`` (natural log).

    ``error = exp(low + (code - 1) (high - low) / 253)``; code 0: no error is known. Wrong by half a step in relative
    terms: 0.9 % where errors span two decades.
    """
    known = np.isfinite(error) & (error > 0)
    logs = np.log(np.where(known, error, 1.0))
    low = np.where(known, logs, np.inf).min(1, initial=np.inf)
    high = np.where(known, logs, -np.inf).max(1, initial=-np.inf)
    low, high = (np.where(np.isfinite(end), end, 0.0) for end in (low, high))
    width = np.where(high > low, high - low, 1.0)
    steps = 1 + np.rint((logs - low[:, None]) * ((LEVELS - 1) / width[:, None]))
    return np.where(known, steps, 0).astype(np.uint8), np.stack([low, low + width], 1)


def decoded_error(codes: NDArray[np.uint8], ends: Floats) -> Floats:
    """What the page reads back; NaN where no error is known."""
    low, high = ends.T
    values = np.exp(low[:, None] + (codes.astype(float) - 1) * ((high - low)[:, None] / (LEVELS - 1)))
    return np.where(codes == 0, np.nan, values)


def coded_replicates(deviations: Floats) -> Coded:
    """Signed squares ``deviation = sign(code) code^2 scale`` in 8 bits, ``[groups, components, tokens]``.

    The rounding of single tokens averages out in the means over many tokens for which these are kept.
    """
    known = np.nan_to_num(deviations)
    scale = _square_scale(np.abs(known).max(axis=(0, 2)), 127)
    return Coded(_squares(known, scale).astype(np.int8), scale)


def decoded_replicates(coded: Coded) -> Floats:
    """What the page reads back."""
    return _from_squares(coded)


def coded_places(places: Floats) -> tuple[NDArray[np.uint16], list[float]]:
    """16-bit places ``[frames, tokens, 2]`` in one square over all frames: codes and [left, bottom, width]."""
    flat = places.reshape(-1, 2)
    low, high = flat.min(0), flat.max(0)
    width = float((high - low).max()) or 1.0
    middle = (low + high) / 2
    left = middle - width / 2
    codes = np.rint((places - left) * (WIDE / width))
    return np.clip(codes, 0, WIDE).astype(np.uint16), [float(left[0]), float(left[1]), width]


def rounding(frame: Frame) -> tuple[float, float]:
    """Rounding of psi as a share of the token's own standard error: middle and largest over all values."""
    share = np.abs(decoded_psi(coded_psi(frame.psi)) - frame.psi) / frame.error
    known = share[np.isfinite(share)]
    return (float(np.median(known)), float(known.max())) if known.size else (0.0, 0.0)


def frame_payload(frame: Frame, *, replicates: bool) -> dict[str, object]:
    """One frame for the page."""
    psi, (error, ends) = coded_psi(frame.psi), coded_error(frame.error)
    out: dict[str, object] = {
        "label": frame.label, "psi": packed(psi.codes, "i2"), "scale": psi.scale.tolist(),
        "error": packed(error, "u1"), "ends": ends.tolist(), "loss": packed(frame.loss, "f4"), "replicates": None,
    }  # fmt: skip
    if replicates and frame.replicates is not None:
        coded = coded_replicates(frame.replicates)
        out["replicates"] = {**packed(coded.codes, "i1"), "scale": coded.scale.tolist()}
    return out


def clean(word: str) -> str:
    """A string that can be written as UTF-8: lone surrogates become U+FFFD."""
    return word.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def indexed(values: list[str] | tuple[str, ...]) -> tuple[list[str], NDArray[np.uint32]]:
    """Different values in order of appearance, and the index of each."""
    known: dict[str, int] = {}
    places = np.fromiter((known.setdefault(value, len(known)) for value in values), np.uint32, len(values))
    return list(known), places


def map_payload(maps: Mapping[str, Floats]) -> list[dict[str, object]]:
    """All maps for the page."""
    found: list[dict[str, object]] = []
    for name, places in maps.items():
        codes, square = coded_places(places)
        found.append({"name": name, "places": packed(codes, "u2"), "square": square})
    return found
