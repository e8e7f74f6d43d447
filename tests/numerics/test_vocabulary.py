"""The loss as attention over the vocabulary, against cross-entropy and its gradient in float64."""

import pytest
import torch
import torch.nn.functional as F

from susceptometer.posterior import kernel, vocabulary
from susceptometer.posterior.kernel import Readout, linear_cross_entropy, losses_and_slopes, token_losses
from susceptometer.posterior.vocabulary import attended, parts_of, serves


def example(words, width, count, *, bias, spread=1.0):
    generator = torch.Generator().manual_seed(words)
    hidden, weight = (spread * torch.randn(n, width, generator=generator) for n in (count, words))
    return hidden, weight, torch.randn(words, generator=generator) if bias else None, torch.arange(count) % words


SHAPES = [(61, 12, 7, False), (96, 128, 40, False), (96, 128, 40, True), (4096, 16, 5, True), (50304, 32, 3, False)]


@pytest.mark.parametrize(("words", "width", "count", "bias"), SHAPES)
def test_loss_and_slope_are_those_of_cross_entropy(words, width, count, bias):
    hidden, weight, offset, targets = example(words, width, count, bias=bias)
    whole, mean = attended(hidden, weight, offset)
    leaf = hidden.double().requires_grad_()
    logits = F.linear(leaf, weight.double(), None if offset is None else offset.double())
    torch.testing.assert_close(whole, logits.detach().logsumexp(1).float(), rtol=1e-5, atol=1e-4)
    losses = F.cross_entropy(logits, targets, reduction="none")
    (slope,) = torch.autograd.grad(losses.sum(), leaf)
    scale = float(slope.abs().max())
    torch.testing.assert_close((mean - weight[targets]) / scale, slope.float() / scale, rtol=1e-4, atol=1e-5)


def test_large_losses_need_no_second_look():
    hidden, weight, _, targets = example(96, 16, 8, bias=False, spread=10.0)
    whole, _ = attended(hidden, weight)
    exact = F.cross_entropy(hidden.double() @ weight.double().T, targets, reduction="none")
    assert float(exact.max()) > 500
    own = (hidden * weight[targets]).sum(1)
    torch.testing.assert_close(whole - own, exact.float(), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(
    ("words", "tokens", "parts"), [(50304, 16, 16), (50304, 8000, 4), (50304, 10**6, 1), (61, 4, 1)]
)
def test_parts_divide_the_vocabulary_and_fill_a_gpu(words, tokens, parts):
    assert parts_of(words, tokens) == parts


def test_parts_are_joined_exactly(monkeypatch):
    hidden, weight, _, _ = example(96, 16, 8, bias=False)
    many = attended(hidden, weight)
    monkeypatch.setattr(vocabulary, "FILL_TOKENS", 1)
    for one, two in zip(many, attended(hidden, weight), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "bias", "capped", "fits"),
    [
        (128, False, False, True),
        (256, False, False, True),
        (256, True, False, False),
        (64, False, True, False),
        (260, False, False, False),
    ],
)
def test_where_it_serves(width, bias, capped, fits):
    assert serves(width, bias=bias, capped=capped) is fits


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The kernel takes the way it takes on CUDA, on this machine's CPU."""
    monkeypatch.setattr(kernel, "on_gpu", lambda hidden: True)


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("spread", [1.0, 9.0])
def test_the_gpu_way_of_the_kernel_is_the_cpu_way(as_on_a_gpu, monkeypatch, bias, softcap, spread):
    hidden, weight, offset, targets = example(96, 16, 30, bias=bias, spread=spread)
    readout = Readout(weight, offset, softcap)
    found = losses_and_slopes(hidden, readout, targets), token_losses(hidden, readout, targets)
    monkeypatch.undo()
    losses, slopes = losses_and_slopes(hidden, readout, targets)
    torch.testing.assert_close(found[0][0], losses, rtol=1e-5, atol=1e-4 * spread**2)
    torch.testing.assert_close(found[0][1], slopes, rtol=1e-4, atol=1e-4 * spread**2)
    torch.testing.assert_close(found[1], losses, rtol=1e-5, atol=1e-4 * spread**2)


@pytest.mark.parametrize("trained", [False, True])
def test_gradients_the_gpu_way(as_on_a_gpu, trained):
    hidden, weight, offset, targets = example(96, 16, 30, bias=True)
    leaves = [hidden.requires_grad_(), *([weight.requires_grad_(), offset.requires_grad_()] if trained else [])]
    pull = torch.linspace(-1, 2, 30)
    found = torch.autograd.grad((pull * linear_cross_entropy(hidden, weight, targets, bias=offset)).sum(), leaves)
    plain = F.cross_entropy(F.linear(hidden, weight, offset), targets, reduction="none")
    for one, two in zip(found, torch.autograd.grad((pull * plain).sum(), leaves), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
