"""The loss kernel against plain cross-entropy: values, gradients, caps, overflow, half-precision products."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from susceptometer.errors import RecipeError, SubjectError
from susceptometer.posterior import kernel
from susceptometer.posterior.kernel import (
    Readout,
    linear_cross_entropy,
    losses_and_slopes,
    token_losses,
)

SIZES = st.tuples(st.integers(1, 7), st.integers(1, 11), st.integers(1, 5))


def case(sizes, *, seed, biased, scale=1.0, dtype=torch.float64):
    tokens, words, width = sizes
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype) * scale

    targets = torch.randint(words, (tokens,), generator=generator)
    return draw(tokens, width), draw(words, width), targets, draw(words) if biased else None


def plain(hidden, weight, targets, bias, softcap):
    logits = F.linear(hidden, weight, bias)
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    return F.cross_entropy(logits, targets, reduction="none")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(kernel, "TILE", (3, 4))


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(0, 10**6), st.booleans(), st.sampled_from([None, 2.0]))
def test_equals_cross_entropy_with_gradients(sizes, seed, biased, softcap):
    hidden, weight, targets, bias = case(sizes, seed=seed, biased=biased)
    leaves = [x.requires_grad_() for x in (hidden, weight, bias) if x is not None]
    pull = torch.randn(len(targets), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ours = linear_cross_entropy(hidden, weight, targets, bias=bias, softcap=softcap)
    theirs = plain(hidden, weight, targets, bias, softcap)
    torch.testing.assert_close(ours, theirs)
    got, want = (torch.autograd.grad((x * pull).sum(), leaves) for x in (ours, theirs))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(hidden, weight, targets, bias=bias, softcap=softcap), theirs)


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(0, 10**6), st.booleans(), st.sampled_from([None, 2.0]))
def test_fixed_weights_take_the_short_way(sizes, seed, biased, softcap):
    hidden, weight, targets, bias = case(sizes, seed=seed, biased=biased)
    hidden.requires_grad_()
    ours = linear_cross_entropy(hidden, weight, targets, bias=bias, softcap=softcap)
    theirs = plain(hidden, weight, targets, bias, softcap)
    for a, b in zip(*(torch.autograd.grad(x.sum(), hidden) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)
    assert weight.grad is None


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("fixed", [True, False])
def test_gradcheck(softcap, fixed):
    hidden, weight, targets, bias = case((5, 9, 3), seed=1, biased=True)
    hidden.requires_grad_()
    if not fixed:
        weight.requires_grad_()
        bias.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h, w, b: linear_cross_entropy(h, w, targets, bias=b, softcap=softcap),
        (hidden, weight, bias),
    )


def test_slopes_are_the_gradient():
    hidden, weight, targets, bias = case((6, 10, 4), seed=2, biased=True)
    readout = Readout(weight, bias)
    losses, slopes = losses_and_slopes(hidden, readout, targets)
    hidden.requires_grad_()
    theirs = plain(hidden, weight, targets, bias, None)
    torch.testing.assert_close(losses, theirs)
    torch.testing.assert_close(slopes, torch.autograd.grad(theirs.sum(), hidden)[0])
    torch.testing.assert_close(token_losses(hidden, readout, targets), theirs)


@pytest.mark.parametrize("fixed", [True, False])
def test_huge_losses_do_not_overflow(fixed):
    hidden, weight, targets, _ = case((5, 9, 3), seed=3, biased=False, scale=40.0, dtype=torch.float32)
    hidden.requires_grad_()
    weight.requires_grad_(not fixed)
    ours, theirs = (
        linear_cross_entropy(hidden, weight, targets),
        plain(hidden, weight, targets, None, None),
    )
    assert theirs.max() > 500
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), hidden)[0] for x in (ours, theirs)), rtol=1e-3, atol=1e-3)


def test_nan_stays_nan():
    hidden, weight, targets, _ = case((4, 9, 3), seed=4, biased=False)
    hidden[1, 0] = float("nan")
    losses = linear_cross_entropy(hidden, weight, targets)
    assert losses.isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize(("precision", "loss_error", "slope_error"), [("mixed", 1e-5, 0.01), ("bfloat16", 0.05, 0.01)])
def test_half_precision_products_stay_close(precision, loss_error, slope_error, monkeypatch):
    monkeypatch.setattr(kernel, "TILE", (64, 128))
    hidden, weight, targets, _ = case((200, 700, 64), seed=5, biased=False, dtype=torch.float32)
    weight *= 0.3
    readout = Readout(weight, precision=precision)
    losses, slopes = losses_and_slopes(hidden, readout, targets)
    exact, steep = losses_and_slopes(hidden.double(), Readout(weight.double()), targets)
    assert (losses - exact).abs().max() < loss_error
    assert (slopes - steep).norm() / steep.norm() < slope_error
    assert torch.backends.mkldnn.matmul.fp32_precision != "bf16"


def test_bad_arguments_raise():
    hidden, weight, targets, _ = case((4, 9, 3), seed=6, biased=False)
    with pytest.raises(SubjectError, match="do not fit"):
        linear_cross_entropy(hidden, weight.float(), targets)
    with pytest.raises(SubjectError, match="do not fit"):
        linear_cross_entropy(hidden, weight[:, :2], targets)
    with pytest.raises(RecipeError, match="precision"):
        linear_cross_entropy(hidden, weight, targets, precision="half")
