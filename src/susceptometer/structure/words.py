"""Principal pairs and maps of a run in words and tables: what the commands ``spectrum`` and ``embed`` answer."""

from argparse import Namespace
from collections.abc import Sequence

import numpy as np
import pandas as pd

from susceptometer.errors import DataError
from susceptometer.sampling.reading import Reading
from susceptometer.structure.embed import MapSetting, embed, map_quality
from susceptometer.structure.patterns import PATTERNS, pattern_class, token_patterns
from susceptometer.structure.response import Response, response
from susceptometer.structure.spectrum import Spectrum, spectrum
from susceptometer.structure.standardise import standardisation

ENDS = 8
"""Tokens named at each end of a pair."""

SAID = (
    "share", "share_error", "reliability", "p_chains", "p_tokens", "significant", "loading", "loading_error",
)  # fmt: skip
"""Variables of a spectrum that are part of the answer."""


def spectrum_answer(
    reading: Reading, given: Namespace, strings: Sequence[str] | None
) -> tuple[str, dict, pd.DataFrame]:
    """Pairs of a run: text, plain values, and the scores as a table of tokens.

    Args:
        reading: The run.
        given: ``form``, ``standardise``, ``components`` (names or globs, or None), ``pcs``, ``seed``, ``drop_failed``.
        strings: Decoded token strings of the model, if it is a language model.
    """
    chi = _chosen(reading, given)
    found = spectrum(chi, given.standardise, seed=given.seed, pcs=given.pcs)
    told = "\n".join([repr(found), *(_pair_in_words(found, k, strings) for k in range(len(found.data["pc"])))])
    data = found.data
    out = {
        "form": found.form, "standardised": found.kind, "groups": found.groups, "components": found.components,
        **{name: data[name].to_numpy().tolist() for name in SAID},
    }  # fmt: skip
    table = _token_columns(reading, strings)
    for k, pc in enumerate(data["pc"].to_numpy()):
        table[f"pc{pc}"], table[f"pc{pc}_error"] = data["score"].to_numpy()[k], data["score_error"].to_numpy()[k]
    return told, out, table


def embed_answer(reading: Reading, given: Namespace, strings: Sequence[str] | None) -> tuple[str, dict, pd.DataFrame]:
    """A map of a run's tokens: text, plain values, and the places as a table of tokens.

    Args:
        reading: The run.
        given: As for `spectrum_answer`, and ``neighbours``, ``min_dist``, ``metric``.
        strings: Decoded token strings, or None.
    """
    chi = _chosen(reading, given).matrix().mean(0)
    vectors = standardisation(chi, given.standardise)(chi)
    points = embed(vectors, MapSetting(given.neighbours, given.min_dist, given.metric), seed=given.seed)
    table = _token_columns(reading, strings)
    table["x"], table["y"] = points.T
    classes = np.unique(table["pattern"] if "pattern" in table else table["probe"], return_inverse=True)[1]
    quality = map_quality(vectors, points, classes, metric=given.metric)
    told = (
        f"map of {len(points):,} tokens: trustworthiness {quality.trustworthiness:.3f}, continuity "
        f"{quality.continuity:.3f}; share of neighbours of the same {'pattern' if 'pattern' in table else 'probe'}: "
        f"vectors {quality.purity[0]:.3f}, map {quality.purity[1]:.3f}, chance {quality.chance:.3f}"
    )
    out = {"tokens": len(points), "trustworthiness": quality.trustworthiness, "continuity": quality.continuity,
           "purity": list(quality.purity), "chance": quality.chance}  # fmt: skip
    return told, out, table


def _chosen(reading: Reading, given: Namespace) -> Response:
    from fnmatch import fnmatch

    whole = response(reading, given.form, drop_failed=given.drop_failed)
    if not given.components:
        return whole
    names = [n for n in whole.components if any(fnmatch(n, pattern) for pattern in given.components)]
    if not names:
        raise DataError(
            "no component of the run is meant",
            where="--components",
            value=given.components,
            why="there would be no column",
            do=f"use names or globs of {whole.components[:20]}",
        )
    return whole.of_components(names)


def _pair_in_words(found: Spectrum, k: int, strings: Sequence[str] | None) -> str:
    """Heads and tokens at the two ends of a pair."""
    loading, score = found.data["loading"].to_numpy()[k], found.data["score"].to_numpy()[k]
    error = found.data["loading_error"].to_numpy()[k]
    order = np.argsort(loading)[::-1]
    heads = ", ".join(f"{found.components[i]} {loading[i]:+.2f}±{error[i]:.2f}" for i in order)
    lines = [f"  pc {k + 1} heads: {heads}"]
    if strings is not None and "token_id" in found.data.coords:
        ids = found.data["token_id"].to_numpy()[np.argsort(score)]
        low, high = ([repr(strings[i]) for i in dict.fromkeys(part.tolist())] for part in (ids, ids[::-1]))
        lines += [f"    lowest scores:  {' '.join(low[:ENDS])}", f"    highest scores: {' '.join(high[:ENDS])}"]
    return "\n".join(lines)


def _token_columns(reading: Reading, strings: Sequence[str] | None) -> pd.DataFrame:
    """Coordinates of every token, with its string and pattern where those are known."""
    coords = reading.tokens.coords
    table = pd.DataFrame({name: coords[name].to_numpy() for name in coords if coords[name].dims == ("token",)})
    if strings is None or "token_id" not in table:
        return table
    table["text"] = [strings[i] for i in table["token_id"]]
    patterns = np.empty(len(table), dtype=object)
    for _, part in table.groupby("probe", sort=False):
        rows = part["token_id"].to_numpy().reshape(part["row"].nunique(), -1)
        flags = token_patterns([[strings[i] for i in row] for row in rows.tolist()], rows)
        patterns[part.index] = np.array(PATTERNS)[pattern_class(flags)].ravel()
    table["pattern"] = patterns
    return table
