"""Principal pairs of a response matrix: heads on one side, tokens on the other, with errors over chain groups."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.estimate.estimate import format_pm
from susceptometer.rng import stream_seed
from susceptometer.structure.response import Form, Response
from susceptometer.structure.significance import Significance, significance
from susceptometer.structure.standardise import Kind, Standardisation, standardisation

Floats = NDArray[np.floating]

HALVES = 20
"""Random splits of the groups behind a reliability."""


@dataclass(frozen=True)
class Spectrum:
    """Singular value decomposition of a standardised response matrix, Z = sum_k s_k u_k v_k'.

    Args:
        data: Variables ``share`` and ``share_error`` [pc] (part of the variance), ``loading`` and ``loading_error``
            [pc, component] (v_k, unit vectors), ``repeat_loading`` [bootstrap, pc, component], ``score`` and
            ``score_error`` [pc, token] (Z v_k), ``reliability`` [pc] (correlation of the scores of two halves of the
            groups, mean over splits), ``p_chains``, ``p_tokens`` and ``significant`` [pc] (see `significance`).
        form: Estimator of the response.
        kind: Standardisation of its columns.
        groups: Chain groups behind every error.
        map: The standardisation itself, for other tokens and other groups.
    """

    data: xr.Dataset
    form: Form
    kind: Kind
    groups: int
    map: Standardisation

    @property
    def components(self) -> list[str]:
        """Names on the heads' side."""
        return self.data["component"].values.tolist()

    def scores(self, matrix: Floats) -> Floats:
        """Scores of any token vectors, ``[..., components]`` nats^2 -> ``[..., pcs]``."""
        return self.map(matrix) @ self.data["loading"].values.T

    def __repr__(self) -> str:
        d = self.data
        head = f"principal pairs, {self.form} form, standardised by {self.kind}, {self.groups} groups"
        lines = [
            f"  pc {int(pc)}  {format_pm(100 * float(d['share'][k]), 100 * float(d['share_error'][k])):>16} %  "
            f"reliability {float(d['reliability'][k]):.3f}  p(chains) {float(d['p_chains'][k]):.3f}  "
            f"p(tokens) {float(d['p_tokens'][k]):.3f}  {'significant' if d['significant'][k] else '-'}"
            for k, pc in enumerate(d["pc"].values)
        ]
        return "\n".join([head, *lines])


def spectrum(
    response: Response, kind: Kind = "columns", *, seed: int, pcs: int = 16, bootstraps: int = 200
) -> Spectrum:
    r"""Principal pairs with bootstrap errors over chain groups and their significance (baker2025; reading 5.1).

    The sign of a pair makes its largest |loading| positive. Errors: groups are drawn again with replacement,
    standardisation and decomposition are repeated, pairs matched to the full data's by the largest |v.v'|, spreads
    widened by sqrt(G/(G-1)). Errors of scores are the spread of the groups along the fixed v_k.

    Args:
        response: chi with its replicates.
        kind: Standardisation; ``whitened`` has no meaningful spectrum and is refused.
        seed: Names the bootstrap and the permutations.
        pcs: Pairs kept (at most the number of components).
        bootstraps: Repetitions.

    Raises:
        DataError: A constant column, fewer tokens than components, or ``kind`` is ``whitened``.
    """
    matrix = response.matrix()
    groups, tokens, columns = matrix.shape
    if kind == "whitened" or tokens <= columns:
        raise DataError(
            "no spectrum of this matrix",
            where="spectrum",
            value=f"{kind}, {tokens} tokens x {columns} components",
            why="whitened columns share one variance; a spectrum needs more tokens than components",
            do="use 'columns' or 'columns and rows' on more tokens",
        )
    fitted = standardisation(matrix.mean(0), kind)
    gram = GroupGram.of(matrix)
    covariance = gram.standardised(gram.even(), kind)
    share, loading = principal(covariance, min(pcs, columns))
    repeats = [principal(gram.standardised(w, kind), columns) for w in _weights(groups, bootstraps, seed)]
    shares, loadings = _repeated(loading, repeats)
    widen = np.sqrt(groups / (groups - 1))
    scores = fitted(matrix) @ loading.T
    judged = significance(fitted(matrix), loading, seed=seed)
    coords = {"pc": np.arange(1, len(share) + 1), "component": response.components}
    data = xr.Dataset(
        {
            "share": ("pc", share), "share_error": ("pc", widen * shares.std(0, ddof=1)),
            "loading": (("pc", "component"), loading),
            "loading_error": (("pc", "component"), widen * loadings.std(0, ddof=1)),
            "repeat_loading": (("bootstrap", "pc", "component"), loadings),
            "score": (("pc", "token"), scores.mean(0).T),
            "score_error": (("pc", "token"), scores.std(0, ddof=1).T / np.sqrt(groups)),
            "reliability": ("pc", reliability(scores, seed)), **_columns(judged),
        },
        coords,
    ).assign_coords(_token_coords(response))  # fmt: skip
    return Spectrum(data, response.form, kind, groups, fitted)


@dataclass(frozen=True)
class GroupGram:
    """Second moments over tokens of all (group, component) columns: everything resampling of groups needs.

    Args:
        moments: ``[groups, groups, components, components]``, centred over tokens, nats^4.
    """

    moments: Floats

    @classmethod
    def of(cls, matrix: Floats) -> "GroupGram":
        """From replicates ``[groups, tokens, components]``."""
        groups, tokens, columns = matrix.shape
        flat = (matrix - matrix.mean(1, keepdims=True)).transpose(1, 0, 2).reshape(tokens, -1)
        moments = (flat.T @ flat / tokens).reshape(groups, columns, groups, columns)
        return cls(np.ascontiguousarray(moments.transpose(0, 2, 1, 3)))

    def even(self) -> Floats:
        """Weights of the plain mean, ``[groups]``."""
        return np.full(len(self.moments), 1.0 / len(self.moments))

    def standardised(self, weights: Floats, kind: Kind) -> Floats:
        """Covariance ``[components, components]`` of the standardised weighted mean of the groups."""
        covariance = np.tensordot(np.outer(weights, weights), self.moments, 2)
        spread = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(spread, spread)
        if kind == "columns":
            return correlation
        left = correlation - correlation.mean(0)
        return left - left.mean(1, keepdims=True)


def _weights(groups: int, bootstraps: int, seed: int) -> Floats:
    """Bootstrap weights ``[bootstraps, groups]``; the same for all components, since the two-run form shares a run."""
    rng = np.random.default_rng(stream_seed(seed, "bootstrap over groups"))
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=bootstraps) / groups


def principal(covariance: Floats, count: int) -> tuple[Floats, Floats]:
    """Shares ``[count]`` and sign-fixed loadings ``[count, components]``, largest first."""
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:count]
    loading = vectors[:, order].T
    largest = np.abs(loading).argmax(1)
    return values[order] / values.sum(), loading * np.sign(loading[np.arange(count), largest])[:, None]


def _repeated(loading: Floats, repeats: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Bootstrap shares ``[bootstraps, pcs]`` and loadings ``[bootstraps, pcs, components]``, pairs matched to ours."""
    shares, loadings = [], []
    for again, vectors in repeats:
        overlap = loading @ vectors.T
        match = matched(np.abs(overlap))
        signs = np.sign(overlap[np.arange(len(match)), match])
        shares.append(again[match])
        loadings.append(vectors[match] * signs[:, None])
    return np.array(shares), np.array(loadings)


def matched(overlap: Floats) -> NDArray[np.intp]:
    """For every row of |overlap| its partner column, the strongest pairs taken first: ``[rows]``."""
    left, partner = overlap.copy(), np.full(len(overlap), -1)
    for _ in range(len(overlap)):
        row, column = np.unravel_index(left.argmax(), left.shape)
        partner[row] = column
        left[row], left[:, column] = -1.0, -1.0
    return partner


def reliability(scores: Floats, seed: int) -> Floats:
    """Correlation over tokens between two halves of the groups: ``[groups, tokens, pcs]`` -> ``[pcs]``.

    Mean over `HALVES` random splits; of half the groups, so a lower bound for all of them.
    """
    groups = len(scores)
    rng = np.random.default_rng(stream_seed(seed, "split halves"))
    found = []
    for _ in range(HALVES):
        order = rng.permutation(groups)
        first, second = (scores[part].mean(0) for part in np.array_split(order, 2))
        a, b = first - first.mean(0), second - second.mean(0)
        found.append((a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0)))
    return np.mean(found, axis=0)


def _columns(judged: Significance) -> dict[str, tuple[str, NDArray]]:
    return {
        "p_chains": ("pc", judged.p_chains), "p_tokens": ("pc", judged.p_tokens),
        "significant": ("pc", judged.significant),
    }  # fmt: skip


def _token_coords(response: Response) -> dict[str, xr.DataArray]:
    return {name: c for name, c in response.replicates.coords.items() if c.dims == ("token",)}  # type: ignore[misc]
