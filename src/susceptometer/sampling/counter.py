"""Random numbers by counting: Philox streams that any device draws alike, in any order and beside any others.

A number is a function of (key, counter) and of nothing before it (salmon2011, Philox-4x32-10). Each chain group has a
key made from the names of its stream; the counter is the step and the place of the number. So a chain is the same
whatever runs beside it, and a recorded graph of a step can draw fresh numbers, since the step's count is a tensor
on the device that the graph itself raises.
"""

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

from susceptometer.rng import stream_seed
from susceptometer.sampling.coupling import Coupling

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

NORMAL, UNIFORM = 0, 1
"""Third word of the counter: what the numbers are for."""


def philox(key: tuple[Tensor, Tensor], counter: Sequence[Tensor]) -> list[Tensor]:
    """Four words of 32 random bits, int64 in ``0..2^32-1``, for every key and counter (broadcast together).

    Args:
        key: Two words.
        counter: Four words.
    """
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(ROUNDS):
        (h0, l0), (h1, l1) = _product(c0, MULTIPLIERS[0]), _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return [c0, c1, c2, c3]


def _product(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Upper and lower half of a 64-bit product; the sign of the wrapped product is masked away."""
    whole = word * factor
    return (whole >> 32) & MASK, whole & MASK


def fraction(word: Tensor, dtype: torch.dtype) -> Tensor:
    """A number in (0, 1] from 32 random bits."""
    return ((word.to(torch.float64) + 0.5) * 2.0**-32).to(dtype)


def normals(key: tuple[Tensor, Tensor], step: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Standard normals ``[groups, count]`` of one step, by Box and Muller from pairs of words.

    Args:
        key: Two words per group, ``[groups, 1]`` each.
        step: Number of the step, a scalar on the device.
        count: Numbers per group.
        dtype: Of the result.
    """
    blocks = -(-count // 4)
    place = torch.arange(blocks, device=step.device)
    zero = torch.zeros_like(place)
    words = philox(key, (place, zero + (step & MASK), zero + NORMAL, zero + (step >> 32)))
    pairs = []
    for one, two in ((words[0], words[1]), (words[2], words[3])):
        radius = (-2 * fraction(one, dtype).log()).sqrt()
        angle = 2 * pi * fraction(two, dtype)
        pairs += [radius * angle.cos(), radius * angle.sin()]
    return torch.stack(pairs, -1).flatten(-2)[..., :count]


class CounterNoise:
    """Noise of some groups by counting, mirrored by the coupling's noise signs; satisfies `base.Noise`.

    Args:
        seed: Seed of the reading.
        names: Names that tell this posterior from others.
        groups: Absolute numbers of the groups.
        coupling: Supplies the noise sign of each member.
        center: Position of one chain ``[d]``; fixes size, precision and device.
    """

    def __init__(
        self, seed: int, names: Sequence[object], groups: Sequence[int], coupling: Coupling, center: Tensor
    ) -> None:
        keys = torch.tensor([stream_seed(seed, "counter", *names, group) for group in groups], device=center.device)
        self._key = (keys[:, None] & MASK, (keys[:, None] >> 32) & MASK)
        self._signs = coupling.noise_signs().to(center)
        self._members, self._center = coupling.members, center
        self.step = torch.zeros((), dtype=torch.int64, device=center.device)

    def normal(self) -> Tensor:
        """Standard normals ``[groups * members, d]``."""
        plain = normals(self._key, self.step, len(self._center), self._center.dtype)
        self.step += 1
        return (plain[:, None] * self._signs[:, None]).flatten(0, 1)

    def uniform(self) -> Tensor:
        """Uniforms ``[groups * members]``, the same for the members of a group."""
        zero = torch.zeros_like(self._key[0])
        word = philox(self._key, (zero, zero + (self.step & MASK), zero + UNIFORM, zero + (self.step >> 32)))[0]
        self.step += 1
        return fraction(word[:, 0], self._center.dtype).repeat_interleave(self._members)
