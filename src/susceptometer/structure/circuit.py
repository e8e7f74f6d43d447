"""Which principal pair tells a circuit from other heads, and whether its tokens are the circuit's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from susceptometer.errors import DataError
from susceptometer.structure.spectrum import Spectrum

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Separation:
    """How the pairs of a spectrum tell a circuit from the heads around it.

    Args:
        pc: The pair that separates best, counted from 1.
        contrast: Correlation of its loadings with membership, over circuit and others; ``[pcs]`` for all pairs.
        error: Bootstrap standard errors, ``[pcs]``.
        p: Share of the choices of as many heads (of the same layers) that some pair separates as well.
        p_each: The same for every pair on its own, ``[pcs]``.
        right_side: Share of the heads on their side of the midpoint between the two groups' means, for that pair.
    """

    pc: int
    contrast: Floats
    error: Floats
    p: float
    p_each: Floats
    right_side: float

    @property
    def best(self) -> tuple[float, float]:
        """|contrast| of the separating pair and its error."""
        return float(abs(self.contrast[self.pc - 1])), float(self.error[self.pc - 1])


def separation(spectrum: Spectrum, circuit: Sequence[str], others: Sequence[str]) -> Separation:
    r"""The significant pair whose loadings separate ``circuit`` from ``others`` (baker2025: PC2 for induction).

        contrast_k = corr( v_k[head], [head in circuit] )   over circuit and others

    Null: every choice of as many heads of the same layers, drawn from all components; for each the best contrast
    over the same pairs, so that the search over pairs is paid for. Pairs that are not significant are not searched
    (but at least three are).

    Args:
        spectrum: Loadings with their bootstrap repetitions.
        circuit: Component names, e.g. induction heads and their previous-token head.
        others: Component names of the heads they are told from.

    Raises:
        DataError: The two overlap, one is empty, or a name is not in the spectrum.
    """
    _require_apart(spectrum, circuit, others)
    names, groups = spectrum.components, spectrum.groups
    seen = max(3, int(spectrum.data["significant"].sum()))
    loading = spectrum.data["loading"].values[:seen]
    inside, outside = _places(names, circuit), _places(names, others)
    contrast = _contrasts(loading, inside, outside)
    repeats = spectrum.data["repeat_loading"].values[:, :seen]
    again = np.stack([_contrasts(one, inside, outside) for one in repeats])
    best = int(np.abs(contrast).argmax())
    null = np.abs(np.stack([contrast, *_null(loading, names, circuit)]))
    return Separation(
        pc=1 + best,
        contrast=contrast,
        error=np.sqrt(groups / (groups - 1)) * again.std(0, ddof=1),
        p=float((null.max(1) >= null[0].max() - 1e-12).mean()),
        p_each=(null >= null[0] - 1e-12).mean(0),
        right_side=_right_side(loading[best], inside, outside),
    )


def _places(names: Sequence[str], chosen: Sequence[str]) -> list[int]:
    return [names.index(name) for name in chosen]


def _contrasts(loading: Floats, circuit: list[int], others: list[int]) -> Floats:
    """Correlation of loadings ``[pcs, components]`` with membership, ``[pcs]``."""
    inside = np.r_[np.ones(len(circuit)), np.zeros(len(others))]
    seen = loading[:, circuit + others]
    a, b = seen - seen.mean(1, keepdims=True), inside - inside.mean()
    return (a @ b) / np.sqrt((a**2).sum(1) * (b**2).sum())


def _null(loading: Floats, names: Sequence[str], circuit: Sequence[str]) -> list[Floats]:
    """Contrasts of every other choice of heads against the rest of the circuit's last layer, ``[pcs]`` each."""
    layers = [name.rsplit(".", 1)[0] for name in names]
    wanted: dict[str, int] = {}
    for name in circuit:
        wanted[name.rsplit(".", 1)[0]] = wanted.get(name.rsplit(".", 1)[0], 0) + 1
    pools = [
        list(combinations([i for i, layer in enumerate(layers) if layer == where], count))
        for where, count in wanted.items()
    ]
    last, ours, found = max(wanted), set(_places(names, circuit)), []
    for picks in product(*pools):
        inside = [place for pick in picks for place in pick]
        if set(inside) != ours:
            rest = [i for i, layer in enumerate(layers) if layer == last and i not in inside]
            found.append(_contrasts(loading, inside, rest))
    return found


def _right_side(loading: Floats, circuit: list[int], others: list[int]) -> float:
    inside, outside = loading[circuit], loading[others]
    middle = (inside.mean() + outside.mean()) / 2
    up = inside.mean() > outside.mean()
    right = np.r_[inside > middle, outside < middle] if up else np.r_[inside < middle, outside > middle]
    return float(right.mean())


def _require_apart(spectrum: Spectrum, circuit: Sequence[str], others: Sequence[str]) -> None:
    unknown = [name for name in (*circuit, *others) if name not in spectrum.components]
    if not circuit or not others or set(circuit) & set(others) or unknown:
        raise DataError(
            "circuit and other heads must be two separate groups of the spectrum's heads",
            where="separation",
            value={"circuit": list(circuit), "others": list(others), "unknown": unknown},
            why="a contrast compares two groups",
            do=f"choose among {spectrum.components}",
        )


def auroc(score: Floats, inside: NDArray[np.bool_]) -> float:
    """P(score of a token inside > score of one outside), ties one half; NaN where one side is empty."""
    hits, misses = int(inside.sum()), int((~inside).sum())
    if not hits or not misses:
        return float("nan")
    return float((rankdata(score)[inside].sum() - hits * (hits + 1) / 2) / (hits * misses))


def auroc_with_error(score: Floats, inside: NDArray[np.bool_], rows: NDArray[np.integer]) -> tuple[float, float]:
    """AUROC and its delete-one-block jackknife error; tokens of a row belong together, rows go into 20 blocks."""
    blocks = np.unique(rows, return_inverse=True)[1] % min(20, len(np.unique(rows)))
    left = np.array([auroc(score[blocks != b], inside[blocks != b]) for b in np.unique(blocks)])
    left = left[np.isfinite(left)]
    count = len(left)
    return auroc(score, inside), float(np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum()))
