"""Cluster cards: what a person needs to say what a cluster of tokens is."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.estimate.estimate import Estimate, format_pm
from susceptometer.structure.labels import Makeup, quoted, short_label
from susceptometer.structure.patterns import PATTERNS, token_patterns
from susceptometer.structure.response import Response

WIDTH = 12
"""Tokens of context shown before and after a token at most."""


@dataclass(frozen=True)
class Context:
    """One token of a cluster in its place: text before, the token, text after, and its domain."""

    before: str
    token: str
    after: str
    domain: str

    def __str__(self) -> str:
        return f"{self.before}⟦{self.token}⟧{self.after}".replace("\n", "⏎").replace("\t", "⇥")


@dataclass(frozen=True)
class Card:
    """One cluster (the format of gordon2026's catalogue, with errors and stability added).

    Args:
        number: Of the cluster.
        label: Short name by rules (`labels.short_label`).
        size: Tokens.
        unique: Different next tokens.
        conductance: Of the cluster.
        halves: Stability over chain halves (Jaccard); NaN where unknown.
        seeds: Stability over seeds (Jaccard); NaN where unknown.
        tokens: Commonest next tokens with their counts.
        domains: Probes with their counts, largest first.
        patterns: Share of the cluster in each token pattern, largest first.
        lift: Share of each pattern over its share in all tokens.
        profile: Mean psi in units of each component's spread over tokens, dim component (``value``, ``error``).
        contexts: Examples, from the middle of the cluster to its edge.
    """

    number: int
    label: str
    size: int
    unique: int
    conductance: float
    halves: float
    seeds: float
    tokens: tuple[tuple[str, int], ...]
    domains: tuple[tuple[str, int], ...]
    patterns: Mapping[str, float]
    lift: Mapping[str, float]
    profile: Estimate
    contexts: tuple[Context, ...]

    def layers(self) -> dict[str, list[tuple[str, float, float]]]:
        """The profile by layer: ``{layer: [(component, value, error), ...]}``."""
        grouped: dict[str, list[tuple[str, float, float]]] = {}
        names = self.profile.value["component"].values.tolist()
        values, errors = self.profile.value.values.tolist(), self.profile.error.values.tolist()
        for name, value, error in zip(names, values, errors, strict=True):
            parts = name.split(".")
            layer = ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]
            grouped.setdefault(layer, []).append((name, value, error))
        return grouped

    def __str__(self) -> str:
        tokens = ", ".join(f"{quoted(token)} {count}" for token, count in self.tokens[:8])
        domains = ", ".join(f"{name} {count}" for name, count in self.domains[:5])
        patterns = ", ".join(f"{name} {share:.0%} (x{self.lift[name]:.1f})" for name, share in self.patterns.items())
        head = (
            f"cluster {self.number}: {self.label}\n"
            f"  {self.size} tokens, {self.unique} different; conductance {self.conductance:.3f}; "
            f"stability {self.halves:.2f} over chain halves, {self.seeds:.2f} over seeds"
        )
        rows = [
            f"  {layer}: " + "  ".join(f"{name.rsplit('.', 1)[-1]} {format_pm(v, e)}" for name, v, e in row)
            for layer, row in self.layers().items()
        ]
        shown = [f"    {context}" for context in self.contexts]
        return "\n".join(
            [
                head,
                f"  tokens: {tokens}",
                f"  domains: {domains}",
                f"  patterns: {patterns}",
                *rows,
                *shown,
            ]
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def cards_of(
    members: Sequence[NDArray[np.intp]],
    rows: Sequence[Mapping[str, float]],
    chi: Response | Estimate,
    *,
    strings: Sequence[str] = (),
    contexts: int = 20,
) -> list[Card]:
    """One card per cluster.

    Args:
        members: Tokens of each cluster.
        rows: ``conductance``, ``halves``, ``seeds`` of each cluster.
        chi: Susceptibilities, dims component x token, with the reading's token coordinates. From a `Response` the
            profile's errors are between chain groups; an `Estimate` knows no covariance between tokens, and its
            mean error is given, an upper bound.
        strings: Decoded string of every token id; else the coordinate ``text``.
        contexts: Examples per cluster.

    Raises:
        DataError: Neither ``strings`` nor a coordinate ``text`` is there.
    """
    text = TokenText(chi_values(chi), strings)
    profiles = Profiles(chi)
    return [
        _card(number, place, row, text, (profiles, contexts))
        for number, (place, row) in enumerate(zip(members, rows, strict=True))
    ]


class TokenText:
    """The tokens of a reading as text: strings, predecessors, contexts, patterns.

    Args:
        value: Anything with token coordinates ``probe``, ``row``, ``position`` and ``token_id`` or ``text``.
        strings: Decoded string of every token id; else the coordinate ``text``.

    Raises:
        DataError: Neither ``strings`` nor a coordinate ``text`` is there.
    """

    def __init__(self, value: xr.DataArray, strings: Sequence[str] = ()) -> None:
        self.words = _words(value, strings)
        self.probes = value["probe"].values.astype(str)
        rows = value["row"].values
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (self.probes[1:] != self.probes[:-1]) | (rows[1:] != rows[:-1])
        self.starts = np.maximum.accumulate(np.where(new, np.arange(len(rows)), 0))
        edges = np.flatnonzero(np.append(new, True))  # noqa: FBT003 - the end is an edge
        self.ends = np.repeat(edges[1:], np.diff(edges))
        self.flags = _flags(self.words, value, edges)

    def before(self, token: int) -> str:
        """The token before, or nothing at the start of a row."""
        return self.words[token - 1] if token > self.starts[token] else ""

    def context(self, token: int) -> Context:
        """A token in its row."""
        first = max(int(self.starts[token]), token - WIDTH)
        last = min(int(self.ends[token]), token + 1 + WIDTH // 2)
        before, after = "".join(self.words[first:token]), "".join(self.words[token + 1 : last])
        return Context(before, self.words[token], after, str(self.probes[token]))


class Profiles:
    """Mean standardised psi of sets of tokens, with errors; see `cards_of`."""

    def __init__(self, chi: Response | Estimate) -> None:
        value = chi_values(chi).transpose("token", "component")
        self.components = value["component"].values.tolist()
        self.center, self.spread = value.values.mean(0), value.values.std(0)
        self.replicates = chi.matrix() if isinstance(chi, Response) else None
        self.value = value.values
        self.error = None if isinstance(chi, Response) else chi.error.transpose("token", "component").values

    def of(self, members: NDArray[np.intp]) -> Estimate:
        """Mean over the tokens of (chi - mean) / spread of every component, dim component."""
        value = (self.value[members].mean(0) - self.center) / self.spread
        if self.replicates is None:
            assert self.error is not None
            error, groups = self.error[members].mean(0) / self.spread, 2
        else:
            groups = len(self.replicates)
            per_group = self.replicates[:, members].mean(1) - self.replicates.mean(1)
            error = per_group.std(0, ddof=1) / np.sqrt(groups) / self.spread
        data = xr.Dataset(
            {"value": ("component", value), "error": ("component", error)},
            {"component": self.components},
        )
        return Estimate("psi", data, groups, "spread over tokens")

    def order(self, members: NDArray[np.intp]) -> NDArray[np.intp]:
        """Members from the middle of the cluster to its edge, in standardised distance."""
        z = (self.value[members] - self.center) / self.spread
        return members[np.argsort(((z - z.mean(0)) ** 2).sum(1), kind="stable")]


def _card(
    number: int,
    members: NDArray[np.intp],
    row: Mapping[str, float],
    text: TokenText,
    more: tuple[Profiles, int],
) -> Card:
    profiles, contexts = more
    words = Counter(text.words[i] for i in members.tolist())
    before = Counter(text.before(i) for i in members.tolist())
    domains = Counter(text.probes[members].tolist())
    share, whole = text.flags[:, members].mean(1), text.flags.mean(1)
    found = sorted(((float(s), n) for s, n in zip(share, PATTERNS, strict=True) if s > 0), reverse=True)
    patterns = {name: value for value, name in found}
    lift = {name: float(s / w) for name, s, w in zip(PATTERNS, share, whole, strict=True) if s > 0}
    everywhere = {name: float((text.probes == name).mean()) for name in domains}
    size = len(members)
    makeup = Makeup(
        {w: n / size for w, n in words.most_common(8)}, {w: n / size for w, n in before.most_common(1)}, patterns,
        {d: n / size for d, n in domains.most_common()}, lift,
        {d: n / size / everywhere[d] for d, n in domains.items()},
    )  # fmt: skip
    ordered = profiles.order(members)
    chosen = ordered[np.unique(np.linspace(0, size - 1, min(contexts, size)).astype(int))]
    return Card(
        number, short_label(makeup), size, len(words), float(row["conductance"]), float(row["halves"]),
        float(row["seeds"]), tuple(words.most_common(10)), tuple(domains.most_common()), patterns, lift,
        profiles.of(members), tuple(text.context(int(i)) for i in chosen),
    )  # fmt: skip


def chi_values(chi: Response | Estimate) -> xr.DataArray:
    """chi with its coordinates, dims component and token."""
    return chi.estimate().value if isinstance(chi, Response) else chi.value


def _words(value: xr.DataArray, strings: Sequence[str]) -> list[str]:
    if len(strings) and "token_id" in value.coords:
        return [str(strings[i]) for i in value["token_id"].values.tolist()]
    if "text" in value.coords:
        return [str(word) for word in value["text"].values]
    raise DataError(
        "the tokens have no text",
        where="cluster cards",
        value=sorted(map(str, value.coords)),
        why="a card shows contexts and names",
        do="pass strings=subject.meta['token_strings']",
    )


def _flags(words: list[str], value: xr.DataArray, edges: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Pattern flags ``[patterns, tokens]``, each row of text by itself; equal rows of tokens together."""
    if "token_id" in value.coords:
        ids = value["token_id"].values
    else:
        known = {word: i for i, word in enumerate(dict.fromkeys(words))}
        ids = np.array([known[word] for word in words])
    flags = np.zeros((len(PATTERNS), len(words)), dtype=bool)
    widths = np.diff(edges)
    for width in np.unique(widths).tolist():
        first = edges[:-1][widths == width]
        places = first[:, None] + np.arange(width)
        rows = [words[a : a + width] for a in first.tolist()]
        flags[:, places.ravel()] = token_patterns(rows, ids[places]).reshape(len(PATTERNS), -1)
    return flags
