"""Speed and error of the loss kernel by precision, one thread: 2,016 tokens, 128 -> 50,304 logits.

python benchmarks/bench_kernel.py
"""

import time

import torch
import torch.nn.functional as F

from susceptometer.posterior.kernel import PRECISIONS, Readout, losses_and_slopes, token_losses

TOKENS, WIDTH, WORDS = 2016, 128, 50304


def seconds(work, repeats=4):
    """Smallest CPU time of ``work``; once before to warm up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def case():
    """Hidden states, half of them pointing at their target, so that small and large losses occur."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(WORDS, WIDTH, generator=generator) * 0.25
    hidden = torch.randn(TOKENS, WIDTH, generator=generator)
    targets = torch.randint(WORDS, (TOKENS,), generator=generator)
    hidden[: TOKENS // 2] = 3 * weight[targets[: TOKENS // 2]] + 0.7 * hidden[: TOKENS // 2]
    return hidden, weight, targets


def plain(hidden, weight, targets, *, sloped):
    """PyTorch with all logits kept: losses, and their slope along ``hidden``."""
    leaf = hidden.clone().requires_grad_(sloped)
    losses = F.cross_entropy(leaf @ weight.T, targets, reduction="none")
    slopes = torch.autograd.grad(losses.sum(), leaf)[0] if sloped else None
    return losses.detach(), slopes


def exact(hidden, weight, targets):
    """The same in float64, a few tokens at a time."""
    parts = [
        plain(h.double(), weight.double(), y, sloped=True)
        for h, y in zip(hidden.split(126), targets.split(126), strict=True)
    ]
    return (torch.cat(found) for found in zip(*parts, strict=True))


def row(name, times, losses, slopes, truth):
    error = (losses - truth[0]).abs()
    steep = float((slopes - truth[1]).norm() / truth[1].norm())
    numbers = f"{error.square().mean().sqrt():.1e} | {error.max():.1e} | {steep:.1e}"
    print(f"| {name} | {times[0]:.2f} s | {times[1]:.2f} s | {numbers} |", flush=True)


def main():
    torch.set_num_threads(1)
    hidden, weight, targets = case()
    truth = tuple(exact(hidden, weight, targets))
    print(f"mean loss {float(truth[0].mean()):.2f} nats")
    print("| precision | loss only | loss + slope | rms error | max error | error of the slope |")
    print("|---|---|---|---|---|---|")
    times = [seconds(lambda on=on: plain(hidden, weight, targets, sloped=on)) for on in (False, True)]
    row("PyTorch, logits kept", times, *plain(hidden, weight, targets, sloped=True), truth)
    for precision in PRECISIONS:
        readout = Readout(weight, precision=precision)
        times = [
            seconds(lambda r=readout: token_losses(hidden, r, targets)),
            seconds(lambda r=readout: losses_and_slopes(hidden, r, targets)),
        ]
        row(precision, times, *losses_and_slopes(hidden, readout, targets), truth)


if __name__ == "__main__":
    main()
