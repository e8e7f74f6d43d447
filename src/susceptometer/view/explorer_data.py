"""What the explorer page shows, as plain arrays that know nothing of runs: tokens, frames over training, clusters."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import DataError

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

BODY = -1
"""Cluster number of tokens in no cluster."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenFacts:
    """Tokens in reading order; rows of one probe follow each other, positions rise within a row.

    Args:
        words: Decoded string of every token ``[tokens]``.
        probe: Name of its probe (domain) ``[tokens]``.
        row: Row within the probe ``[tokens]``.
        position: Place within the row ``[tokens]``.
        patterns: Name of every token pattern to its rule in words.
        flags: Which tokens obey which rule ``[patterns, tokens]``.
        classes: One pattern per token by precedence, an index into ``patterns`` ``[tokens]``.
    """

    words: tuple[str, ...]
    probe: NDArray[np.str_]
    row: Ints
    position: Ints
    patterns: Mapping[str, str]
    flags: NDArray[np.bool_]
    classes: Ints

    def __len__(self) -> int:
        return len(self.words)

    def of(self, chosen: Ints) -> "TokenFacts":
        """The facts of some tokens."""
        return TokenFacts(
            words=tuple(self.words[k] for k in chosen.tolist()), probe=self.probe[chosen], row=self.row[chosen],
            position=self.position[chosen], patterns=self.patterns, flags=self.flags[:, chosen],
            classes=self.classes[chosen],
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One checkpoint: how every component answers every token there.

    Args:
        label: Name in words, e.g. ``step 3,000``.
        psi: chi minus its component's mean over tokens ``[components, tokens]``, nats^2; negative: expression.
        error: Standard error ``[components, tokens]``, nats^2.
        replicates: psi of every independent chain group less their mean ``[groups, components, tokens]``, so that
            means over tokens get the error between groups; None: only an upper bound can be given.
        loss: Loss at w* ``[tokens]``, nats.
    """

    label: str
    psi: Floats
    error: Floats
    replicates: Floats | None
    loss: Floats

    def of(self, chosen: Ints) -> "Frame":
        """The frame of some tokens; psi keeps the mean over all tokens as its zero."""
        replicates = None if self.replicates is None else self.replicates[:, :, chosen]
        return Frame(
            label=self.label, psi=self.psi[:, chosen], error=self.error[:, chosen], replicates=replicates,
            loss=self.loss[chosen],
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterFacts:
    """Clusters of the tokens, as `structure.cluster` finds them.

    Args:
        labels: Cluster of each token, `BODY` for the main body ``[tokens]``.
        names: Short name of each cluster ``[clusters]``.
        conductance: ``[clusters]``; NaN where unknown.
        halves: Overlap with the clusters of chain halves (Jaccard) ``[clusters]``; NaN where unknown.
        seeds: The same over other seeds ``[clusters]``.
        chance: Overlap when labels are shuffled.
    """

    labels: Ints
    names: tuple[str, ...]
    conductance: Floats
    halves: Floats
    seeds: Floats
    chance: float = float("nan")

    def of(self, chosen: Ints) -> "ClusterFacts":
        """The same clusters on some tokens."""
        return ClusterFacts(
            labels=self.labels[chosen], names=self.names, conductance=self.conductance, halves=self.halves,
            seeds=self.seeds, chance=self.chance,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplorerData:
    """Everything the explorer shows.

    Args:
        title: Heading, usually the model's name.
        lead: One sentence: what was read and whether it can be trusted.
        components: Names of the components ``[components]``.
        tokens: The tokens.
        frames: Checkpoints in order of training.
        maps: Name of a map to the places of all tokens in every frame ``[frames, tokens, 2]``, aligned over frames.
        clusters: Clusters of the tokens, if they were sought.
        notes: Warnings in words, shown on the page.
        facts: Settings and hashes.
        command: The command that makes this page again.
    """

    title: str
    lead: str
    components: tuple[str, ...]
    tokens: TokenFacts
    frames: tuple[Frame, ...]
    maps: Mapping[str, Floats]
    clusters: ClusterFacts | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        tokens, shape = len(self.tokens), (len(self.components), len(self.tokens))
        shapes: dict[str, tuple[NDArray, tuple[int, ...]]] = {
            "tokens.flags": (self.tokens.flags, (len(self.tokens.patterns), tokens)),
            **{f"maps[{name}]": (places, (len(self.frames), tokens, 2)) for name, places in self.maps.items()},
        }
        for frame in self.frames:
            shapes[f"{frame.label} psi"] = (frame.psi, shape)
            shapes[f"{frame.label} error"] = (frame.error, shape)
            shapes[f"{frame.label} loss"] = (frame.loss, (tokens,))
        if self.clusters is not None:
            shapes["clusters.labels"] = (self.clusters.labels, (tokens,))
        _require(shapes)

    def of(self, chosen: Ints) -> "ExplorerData":
        """The page of some tokens (indices in reading order)."""
        return ExplorerData(
            title=self.title, lead=self.lead, components=self.components, tokens=self.tokens.of(chosen),
            frames=tuple(frame.of(chosen) for frame in self.frames),
            maps={name: places[:, chosen] for name, places in self.maps.items()},
            clusters=None if self.clusters is None else self.clusters.of(chosen), notes=self.notes,
            facts=self.facts, command=self.command,
        )  # fmt: skip


def _require(shapes: Mapping[str, tuple[NDArray, tuple[int, ...]]]) -> None:
    for name, (array, shape) in shapes.items():
        if np.shape(array) != shape:
            raise DataError(
                "an array of the explorer has the wrong shape",
                where=name,
                value=f"{np.shape(array)}, expected {shape}",
                why="components, frames and tokens must mean the same everywhere",
                do="give one entry for each",
            )
