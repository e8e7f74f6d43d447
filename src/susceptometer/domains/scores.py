"""Scores of attention heads and of learning in context, on tokens generated for the purpose or on
real text.

Definitions: reading of Olsson et al. 2022 (induction heads) and Hoogland et al. 2024, arXiv
2402.02364 (stages).
"""

import torch
from torch import Tensor

from susceptometer.domains.tokenizer import BOS_ID
from susceptometer.rng import stream


def repeated_tokens(vocabulary: int, *, rows: int, block: int, seed: int) -> Tensor:
    """Rows BOS, a block of random tokens, the same block again: ``LongTensor [rows, 1 + 2 * block]``.

    Tokens are uniform over the vocabulary without BOS (token 0).
    """
    generator = stream(seed, "repeated tokens")
    first = torch.randint(1, vocabulary, (rows, block), generator=generator)
    start = torch.full((rows, 1), BOS_ID)
    return torch.cat([start, first, first], dim=1)


def previous_token_score(patterns: Tensor) -> Tensor:
    """Mean attention from each position to the one before it: ``[rows, ..., K, K]`` -> ``[...]``,
    between 0 and 1.

    The first position, which has none before it, is left out.
    """
    return patterns.diagonal(-1, -2, -1).mean(-1).mean(0)


def prefix_matching_score(patterns: Tensor, block: int) -> Tensor:
    """Mean attention from the second copy to the token after its first occurrence.

    Shapes:
        patterns   rows ... K K      attention on `repeated_tokens`, K = 1 + 2 * block (or one less)
        returns    ...               between 0 and 1; uniform attention gives about 1 / (1.5 * block)

    From position i of the second copy (the token seen before at i - block), the token after its
    first occurrence is at i - block + 1; the score is the mean of that diagonal over the second
    copy.
    """
    diagonal = patterns.diagonal(-(block - 1), -2, -1)
    # entry j is attention from j + block - 1 to j; the second copy starts at position 1 + block
    return diagonal[..., 2:].mean(-1).mean(0)


def repeat_losses(losses: Tensor, block: int) -> Tensor:
    """Mean loss on the first and on the second copy of `repeated_tokens`, nats: ``[rows, 2 *
    block]`` -> ``[2]``.

    The first token of the second copy, which nothing announces, is left out of the second mean.
    """
    first, second = losses[..., :block], losses[..., block + 1 : 2 * block]
    return torch.stack([first.mean(), second.mean()])


def in_context_score(losses: Tensor, early: int, late: int) -> Tensor:
    """Mean loss around target ``late`` minus around target ``early``, nats: ``[rows, K - 1]`` -> scalar.

    Each mean takes a window of a tenth of the row, centred on its place. Negative: later tokens are
    predicted better, so the model uses what it has read. (The published score takes single
    positions, 500 and 50, of 1,024; a window has the same mean and less noise.)
    """
    half = max(1, losses.shape[-1] // 20)
    near = [losses[..., max(0, place - half) : place + half].mean() for place in (early, late)]
    return near[1] - near[0]


def summary(prefix_matching: Tensor, previous_token: Tensor, repeat: Tensor) -> dict[str, float | str]:
    """The few numbers that say whether induction is there, from head scores ``[layers, heads]``.

    ``repeat`` is the answer of `repeat_losses`, nats. ``ratio`` is the second strongest
    prefix-matching head behind layer 0 over the median of all heads: at least two heads are at
    least that strong.
    """
    heads = prefix_matching.shape[1]
    order = prefix_matching[1:].flatten().argsort(descending=True)[:2] + heads
    first, second = prefix_matching.flatten()[order].tolist()
    before = int(previous_token[0].argmax())
    median = prefix_matching.median().item()
    return {
        "first copy": repeat[0].item(),
        "second copy": repeat[1].item(),
        "previous token": f"0:{before} {previous_token[0, before]:.3f}",
        "strongest": f"{order[0] // heads}:{order[0] % heads} {first:.4f}",
        "second": f"{order[1] // heads}:{order[1] % heads} {second:.4f}",
        "median": median,
        "ratio": second / median,
    }


def induction_heads(scores: Tensor, ratio: float = 4.0) -> list[tuple[int, int]]:
    """(layer, head) of every head whose prefix-matching score is at least ``ratio`` times the
    median head's.

    ``scores [layers, heads]``; heads of layer 0 cannot compose with a previous-token head and are left out.
    """
    strong = scores >= ratio * scores.median()
    return [(layer, head) for layer, head in strong.nonzero().tolist() if layer > 0]
