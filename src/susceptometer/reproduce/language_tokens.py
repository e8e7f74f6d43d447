"""What is known of the tokens and heads of a reading without any chain: patterns, runs, roles of heads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from susceptometer.domains.making import repeat_scores
from susceptometer.domains.pico import making_of
from susceptometer.domains.probe_text import PROBES
from susceptometer.posterior.subject import Subject
from susceptometer.structure.bigrams import Bigrams
from susceptometer.structure.patterns import PATTERNS, pattern_class, spacing_run, token_patterns

Ints = NDArray[np.integer]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class TokenFacts:
    """Facts of all target tokens in reading order, ``[tokens]`` each.

    Args:
        rows: Token rows of all probes ``[rows, K]``; targets are all columns but the first.
        probe: Name of the probe.
        row: Row number over all probes.
        position: Place of the target within its row, counted from 0.
        ids: Token id.
        flags: Patterns ``[patterns, tokens]``.
        classes: One pattern each, by precedence.
        run: White-space tokens immediately before.
        natural: Whether the token is of the text, not of a generated probe.
    """

    rows: Ints
    probe: NDArray[np.str_]
    row: Ints
    position: Ints
    ids: Ints
    flags: Flags
    classes: Ints
    run: Ints
    natural: Flags

    def flag(self, name: str) -> Flags:
        """Tokens of one pattern, ``[tokens]``."""
        return self.flags[PATTERNS.index(name)]

    def of(self, chosen: Flags) -> "TokenFacts":
        """The facts of some tokens; ``rows`` stays whole."""
        return TokenFacts(
            self.rows, self.probe[chosen], self.row[chosen], self.position[chosen], self.ids[chosen],
            self.flags[:, chosen], self.classes[chosen], self.run[chosen], self.natural[chosen],
        )  # fmt: skip


def token_facts(subject: Subject) -> TokenFacts:
    """Facts of the probes of a language subject; bigrams are those of its data."""
    names = ["base", *[name for name in subject.probes if name != "base"]]
    rows = torch.cat([subject.probes[name]["tokens"] for name in names]).numpy()
    strings: Sequence[str] = subject.meta["token_strings"]  # type: ignore[assignment]
    texts = [[strings[i] for i in row] for row in rows.tolist()]
    flags = token_patterns(texts, rows, bigrams=Bigrams.of(subject.data["tokens"].numpy()))
    run = spacing_run(flags[PATTERNS.index("spacing")])
    targets = rows.shape[1] - 1
    counts = [len(subject.probes[name]["tokens"]) for name in names]
    probe = np.repeat(np.array(names), np.array(counts) * targets)
    flat = flags[:, :, 1:].reshape(len(PATTERNS), -1)
    return TokenFacts(
        rows=rows, probe=probe, row=np.repeat(np.arange(len(rows)), targets),
        position=np.tile(np.arange(targets), len(rows)), ids=rows[:, 1:].ravel(), flags=flat,
        classes=pattern_class(flat), run=run[:, 1:].ravel(), natural=~np.isin(probe, list(PROBES)),
    )  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """Roles of heads by scores on repeated random tokens (olsson2022).

    Args:
        prefix_matching: ``[layers, heads]``.
        previous_token: ``[layers, heads]``.
        copy_gain: Loss on the second copy less the first, nats: negative once induction is there.
    """

    prefix_matching: NDArray[np.floating]
    previous_token: NDArray[np.floating]
    copy_gain: float

    @property
    def induction(self) -> list[str]:
        """Heads behind layer 0 with prefix matching of at least 0.2."""
        return [head_name(l, h) for l, h in np.argwhere(self.prefix_matching >= 0.2).tolist() if l > 0]

    @property
    def previous(self) -> list[str]:
        """The layer-0 head that looks at the previous token most."""
        return [head_name(0, int(self.previous_token[0].argmax()))]

    @property
    def others(self) -> list[str]:
        """The remaining heads of the last layer: multigram heads and whatever else."""
        last = len(self.prefix_matching) - 1
        names = [head_name(last, h) for h in range(self.prefix_matching.shape[1])]
        return [name for name in names if name not in self.induction]


def head_name(layer: int, head: int) -> str:
    """Name of a head as a component."""
    return f"blocks.{layer}.attn.head.{head}"


def short(name: str) -> str:
    """``blocks.1.attn.head.7`` -> ``1:7``."""
    parts = name.split(".")
    return f"{parts[1]}:{parts[-1]}"


def roles(subject: Subject, model: str) -> Roles:
    """Scores of a checkpoint's heads on repeated random tokens."""
    found = repeat_scores(subject.params, making_of(model).config)
    first, second = found[2].tolist()
    return Roles(found[0].numpy(), found[1].numpy(), second - first)
