"""Random numbers by counting: Random123's known answers, the right law, and the same chain whatever the batching."""

import pytest
import torch

from susceptometer.sampling.counter import CounterNoise, fraction, normals, philox
from susceptometer.sampling.coupling import antithetic, coupled, independent

KNOWN = [
    ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0xA4093822, 0x299F31D0),
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""Philox-4x32-10 (salmon2011): key, counter, answer."""


@pytest.mark.parametrize(("key", "counter", "answer"), KNOWN)
def test_known_answers(key, counter, answer):
    words = [torch.tensor(word) for word in (*key, *counter)]
    assert tuple(int(word) for word in philox(tuple(words[:2]), words[2:])) == answer


def noise(groups, coupling=None, size=1001, dtype=torch.float32, seed=5):
    return CounterNoise(seed, ("head", 3), groups, coupling or independent(), torch.zeros(size, dtype=dtype))


def test_normals_are_standard_and_independent(seed):
    source = noise(range(4), size=25_001, seed=seed)
    draws = torch.cat([source.normal() for _ in range(4)]).double()
    count = draws.numel()
    for power, expected, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float(draws.pow(power).mean()) - expected) < 5 * (spread / count) ** 0.5
    both = torch.corrcoef(draws) - torch.eye(len(draws), dtype=torch.float64)
    assert float(both.abs().max()) < 5.5 / draws.shape[1] ** 0.5
    beside = (draws[:, 1:] * draws[:, :-1]).mean() * count**0.5
    assert abs(float(beside)) < 5


def test_a_chain_is_the_same_whatever_runs_beside_it():
    whole, parts = noise(range(5)), [noise([1]), noise([4, 2])]
    for _ in range(3):
        together, (one, two) = whole.normal(), (part.normal() for part in parts)
        assert torch.equal(together[[1]], one) and torch.equal(together[[4, 2]], two)
        assert torch.equal(whole.uniform()[[1]], parts[0].uniform())
        parts[1].uniform()


def test_a_longer_vector_begins_with_the_shorter_one():
    assert torch.equal(noise([0], size=999).normal(), noise([0], size=1003).normal()[:, :999])


def test_members_share_noise_and_mirror_it():
    found = noise([0, 1], coupled()).normal().unflatten(0, (2, 4))
    assert torch.equal(found[:, 0], found[:, 1]) and torch.equal(found[:, 0], -found[:, 2])
    assert noise([0, 1], antithetic()).uniform().unflatten(0, (2, 2)).diff(dim=1).abs().max() == 0


def test_every_name_step_and_purpose_has_its_own_numbers():
    one = noise([0])
    first, second = one.normal(), one.normal()
    others = [
        noise([1]).normal(),
        noise([0], seed=6).normal(),
        CounterNoise(5, ("head", 4), [0], independent(), torch.zeros(1001)).normal(),
    ]
    assert not any(torch.equal(first, other) for other in (second, *others))


def test_fractions_stay_away_from_zero():
    ends = fraction(torch.tensor([0, 0xFFFFFFFF]), torch.float32)
    assert 0 < float(ends[0]) < 1e-9 and float(ends[1]) == 1.0


def test_steps_beyond_32_bits_go_on():
    key = (torch.tensor([[1]]), torch.tensor([[2]]))
    late, early = (normals(key, torch.tensor(step), 8, torch.float64) for step in (7 + (1 << 32), 7))
    assert not torch.equal(late, early)
