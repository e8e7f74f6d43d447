"""Streaming moments of token losses: memory is groups x tokens, never draws x tokens (conventions 6.6)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling.coupling import Coupling
from susceptometer.types import Batch, Carry, rows_of, take

BLOCK_EVENTS, BLOCK_WEIGHTS = 1 << 13, 1 << 17
"""Small subjects are read several draws at a time: chains x base tokens and chains x d of one block, at most."""


def probe_order(names: list[str]) -> list[str]:
    """Probes in reading order: ``base`` first, the others as given."""
    return ["base", *[name for name in names if name != "base"]]


@dataclass
class ProbeReader:
    """Token losses of all probes for a posterior, in row chunks with prefixes made once (`posterior.prefix`).

    Args:
        posterior: Supplies stages, probes and w*.
        chains: Chains read together.
    """

    posterior: LocalPosterior
    chains: int
    _carries: Iterable[Carry] = ()
    _batches: list[Batch] = field(default_factory=list)

    @property
    def base_tokens(self) -> int:
        """Tokens of the base probe."""
        return rows_of(self.posterior.subject.probes["base"]) * self.posterior.events

    @property
    def block(self) -> int:
        """Draws to read together: 1 for all but small subjects; no function of the other probes."""
        tokens, weights = self.chains * self.base_tokens, self.chains * len(self.posterior.center)
        return max(1, min(BLOCK_EVENTS // tokens, BLOCK_WEIGHTS // weights))

    def __post_init__(self) -> None:
        probes = self.posterior.subject.probes
        for name in probe_order(list(probes)):
            self._batches += list(self._chunks(probes[name]))
        what = ("probes", tuple(probes), self._rows)
        self._carries = self.posterior.carries(what, self._batches)

    def read(self, weights: Tensor) -> Iterator[Tensor]:
        """Losses ``[chains, tokens of the chunk]`` chunk by chunk, in probe order."""
        for carry in self._carries:
            yield self.posterior.losses(weights, carry).flatten(1)

    def center(self) -> Tensor:
        """Losses at w*, ``[tokens]`` float64, by the same path, rows and order as every draw."""
        pieces = list(self.read(self.posterior.center[None]))
        return torch.cat([piece[0] for piece in pieces]).double()

    @property
    def _rows(self) -> int:
        """Rows of a chunk."""
        each = self.block * self.chains * self.posterior.events
        return max(1, self.posterior.observed_events // each)

    def _chunks(self, probe: Batch) -> Iterator[Batch]:
        return (take(probe, rows) for rows in torch.arange(rows_of(probe)).split(self._rows))


class Moments:
    """Sums over draws from which every estimator follows; float64, measured from w*.

    sum_l: ``[groups, tokens]`` sum over members and draws of l - l*.
    sum_gl: ``[groups, tokens]`` the same of g (l - l*).
    pair: ``[groups, 2, tokens]`` sum over draws (first and second half) of the mean over noise signs of
        (l(w_+) - l(w_-)) / (2 tilt): the response of l to n_beta. Empty without response arms.
    loss: ``[groups, members, draws]`` g of every draw, nats.
    """

    def __init__(self, reader: ProbeReader, coupling: Coupling, *, groups: int, draws: int, tilt: float) -> None:
        self.reader, self._coupling, self._tilt, self._draws = reader, coupling, tilt, draws
        self.center = reader.center()
        self.base_tokens = reader.base_tokens
        tokens, halves = len(self.center), 2 if coupling.responds else 0
        zeros = self.center.new_zeros  # float64, where the chains are
        self.sum_l, self.sum_gl = zeros(groups, tokens), zeros(groups, tokens)
        self.pair = zeros(groups, halves, tokens)
        self.loss = self.center.new_full((groups, coupling.members, draws), torch.nan)

    def update(self, weights: Tensor, first: int) -> None:
        """Add draws ``first``, ``first + 1``, ... of all chains, ``weights`` ``[draws, chains, d]``."""
        shape = (len(weights), len(self.sum_l), self._coupling.members, -1)
        waiting, g, start = [], None, 0
        for losses in self.reader.read(weights.flatten(0, 1)):
            rise = (losses - self.center[start : start + losses.shape[1]].to(losses)).double()
            waiting.append((start, rise.reshape(shape)))
            start += losses.shape[1]
            if g is None and start >= self.base_tokens:
                g = self._base_mean(waiting)
                self.loss[:, :, first : first + len(g)] = g.permute(1, 2, 0)
            if g is not None:
                for place, piece in waiting:
                    self._add(place, piece, g, first)
                waiting = []

    def _add(self, start: int, rise: Tensor, g: Tensor, first: int) -> None:
        """Sums over draws of ``rise`` ``[draws, groups, members, tokens]``, tokens from ``start`` on."""
        where = slice(start, start + rise.shape[3])
        self.sum_l[:, where] += rise.sum((0, 2))
        self.sum_gl[:, where] += torch.einsum("bgm,bgmt->gt", g, rise)
        if self._coupling.responds:
            gap = (rise[:, :, 0::2] - rise[:, :, 1::2]).mean(2) / (2 * self._tilt)
            early = max(0, (self._draws + 1) // 2 - first)
            self.pair[:, 0, where] += gap[:early].sum(0)
            self.pair[:, 1, where] += gap[early:].sum(0)

    def _base_mean(self, pieces: list[tuple[int, Tensor]]) -> Tensor:
        """g of every draw and chain, ``[draws, groups, members]`` nats."""
        base = torch.cat([piece for _, piece in pieces], 3)[..., : self.base_tokens]
        return base.mean(3)
