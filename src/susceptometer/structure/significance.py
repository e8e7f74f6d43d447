"""Which principal pairs are more than chain noise and more than the columns' own spreads."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from susceptometer.rng import stream_seed

Floats = NDArray[np.floating]

LEVEL = 0.05
"""A pair counts while both p-values are at most this, and all stronger pairs count."""

PERMUTATIONS = 99
EMPTY = 1e-9
"""Share of the variance below which nothing is left to test."""
MOST_FLIPS = 511
"""Sign patterns tried: all of them up to ten groups, a random selection beyond."""


@dataclass(frozen=True)
class Significance:
    """Two p-values per pair and the rule.

    Args:
        p_chains: Against the null that what is left beyond the stronger pairs is chain noise, ``[pcs]``.
        p_tokens: Against the null that the columns left have nothing to do with each other, ``[pcs]``.
        significant: Both at most `LEVEL`, for this pair and for all stronger ones, ``[pcs]``.
    """

    p_chains: Floats
    p_tokens: Floats
    significant: NDArray[np.bool_]


def significance(matrix: Floats, loading: Floats, *, seed: int) -> Significance:
    r"""Sequential tests of the leading pairs of a standardised response.

    Chains: groups are independent and their noise is as likely to point one way as the other, so under the null
    the mean over groups of eps_g Z_g has, for every sign pattern eps, the law of the plain mean; the p-value is the
    rank of the largest singular value among all sign patterns (exact up to the symmetry; hong2020). For pair k the
    directions v_1 .. v_{k-1} are removed first. The smallest possible p-value is 2^(1-G): below 6 groups nothing
    can count.

    Tokens: every column of the remainder is permuted over tokens on its own, which keeps its spread and destroys
    what it shares with others (buja1992); the permuted matrix is projected on the same remaining directions and
    scaled to the same total variance, so that k - 1 lost directions give no advantage.

    Args:
        matrix: Standardised replicates ``[groups, tokens, components]``.
        loading: Unit vectors ``[pcs, components]``, strongest first.
        seed: Names the permutations.
    """
    signs = _sign_patterns(len(matrix), seed)
    rng = np.random.default_rng(stream_seed(seed, "permuted tokens"))
    moments = _group_moments(matrix)
    total = np.trace(moments.mean((0, 1)))
    chains, tokens, alive = [], [], True
    for k in range(len(loading)):
        rest = np.eye(loading.shape[1]) - loading[:k].T @ loading[:k]
        left = rest @ moments @ rest
        # row centring leaves one direction empty
        if not alive or np.trace(left.mean((0, 1))) <= EMPTY * total:
            chains.append(np.nan)
            tokens.append(np.nan)
            continue
        chains.append(_chain_p(left, signs))
        tokens.append(_token_p(left.mean((0, 1)), rest, matrix.shape[1], rng))
        alive = max(chains[-1], tokens[-1]) <= LEVEL
    p_chains, p_tokens = np.array(chains), np.array(tokens)
    return Significance(p_chains, p_tokens, np.fmax(p_chains, p_tokens) <= LEVEL)


def _group_moments(matrix: Floats) -> Floats:
    """Sums over tokens of products of groups and columns, ``[groups, groups, components, components]``, centred."""
    groups, tokens, columns = matrix.shape
    flat = (matrix - matrix.mean(1, keepdims=True)).transpose(1, 0, 2).reshape(tokens, -1)
    return (flat.T @ flat).reshape(groups, columns, groups, columns).transpose(0, 2, 1, 3)


def _sign_patterns(groups: int, seed: int) -> Floats:
    """Sign patterns ``[patterns, groups]`` with the first sign fixed, the plain mean left out."""
    if 2 ** (groups - 1) - 1 <= MOST_FLIPS:
        rest = np.array(list(product((1.0, -1.0), repeat=groups - 1)))[1:]
    else:
        rng = np.random.default_rng(stream_seed(seed, "sign flips"))
        rest = rng.choice((1.0, -1.0), size=(MOST_FLIPS, groups - 1))
    return np.concatenate([np.ones((len(rest), 1)), rest], axis=1)


def _chain_p(moments: Floats, signs: Floats) -> float:
    """Rank p-value of the largest singular value of the mean among the sign-flipped means."""
    groups, _, columns, _ = moments.shape
    every = np.concatenate([np.ones((1, groups)), signs])
    outer = (every[:, :, None] * every[:, None, :]).reshape(len(every), -1)
    means = (outer @ moments.reshape(groups * groups, -1)).reshape(-1, columns, columns)
    largest = np.linalg.eigvalsh(means)[:, -1]
    return float((largest >= largest[0] * (1 - 1e-9)).mean())


def _token_p(moments: Floats, rest: Floats, tokens: int, rng: np.random.Generator) -> float:
    """Rank p-value of the largest singular value among column-wise permutations of the tokens.

    Permuted columns keep their variances; their covariances are normal with variance s_i^2 s_j^2 / (N - 1), which is
    drawn instead of permuting N tokens (the permutation central limit theorem).
    """
    ours = np.linalg.eigvalsh(moments)[-1] / np.trace(moments)
    spread = np.sqrt(np.maximum(np.diag(moments), 0.0))
    noise = rng.standard_normal((PERMUTATIONS, *moments.shape)) / np.sqrt(tokens - 1)
    upper = np.triu(noise, 1)
    mixed = np.outer(spread, spread) * (upper + np.swapaxes(upper, 1, 2) + np.eye(len(moments)))
    mixed = rest @ mixed @ rest
    others = np.linalg.eigvalsh(mixed)[:, -1] / np.trace(mixed, axis1=1, axis2=2)
    return float((1 + (others >= ours).sum()) / (1 + PERMUTATIONS))
