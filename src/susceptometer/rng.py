"""Named random streams: every chain group owns generators fixed by (seed, names), whatever the batching."""

import hashlib

import torch


def stream_seed(seed: int, *names: object) -> int:
    """A 63-bit seed that depends on ``seed`` and every name, and on nothing else."""
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def stream(seed: int, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for the stream ``names`` of ``seed``; global random state is untouched."""
    generator = torch.Generator(device=device)
    generator.manual_seed(stream_seed(seed, *names))
    return generator
