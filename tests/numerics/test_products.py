"""Reduced matrix products: right shapes and gradients, rounding of bfloat16 factors and no more, nothing left behind."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from susceptometer.domains.transformer import TransformerConfig, init_params, loss
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.errors import RecipeError
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.products import reduced_products, reduced_products_help
from susceptometer.posterior.stages import Minibatch
from susceptometer.posterior.subject import Subject

SHAPES = [((16, 40), (40, 30)), ((3, 16, 40), (40, 30)), ((3, 16, 40), (3, 40, 30)), ((1, 16, 40), (3, 40, 30)),
          ((2, 3, 16, 40), (40, 30))]  # fmt: skip
needs_bfloat16 = pytest.mark.skipif(not reduced_products_help(), reason="this CPU has no bfloat16 products")


def pair(shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def graded(function, leaves):
    out = function(*leaves)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return out.detach(), torch.autograd.grad((out * pull).sum(), leaves)


def rounded(value):
    return value.bfloat16().double()


@needs_bfloat16
@pytest.mark.parametrize("shapes", SHAPES)
def test_values_are_products_of_rounded_factors(shapes):
    a, b = pair(shapes)
    with reduced_products("bfloat16"), torch.no_grad():
        out = a @ b
    exact = rounded(a.detach()) @ rounded(b.detach())
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=2e-5)
    assert float((out - (a @ b).detach()).abs().max()) > 1e-3


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("precision", ["mixed", "bfloat16"])
def test_gradients_have_the_right_shape_and_value(shapes, precision):
    leaves = pair(shapes)
    plain, plain_grads = graded(torch.matmul, leaves)
    with reduced_products(precision):
        out, grads = graded(torch.matmul, leaves)
    assert torch.equal(out, plain) == (precision == "mixed" or not reduced_products_help())
    for one, other in zip(grads, plain_grads, strict=True):
        assert one.shape == other.shape
        assert float((one - other).norm() / other.norm()) < 0.01


def test_every_spelling_of_a_product_is_caught():
    a, b = pair(((64, 40), (40, 30)))
    bias = torch.randn(30, generator=torch.Generator().manual_seed(2))
    spellings = {
        "@": lambda x, w: x @ w + bias,
        "linear": lambda x, w: F.linear(x, w.T, bias),
        "linear by name": lambda x, w: F.linear(x, w.T, bias=bias),
        "addmm": lambda x, w: torch.addmm(bias, x, w),
        "bmm": lambda x, w: torch.bmm(x[None], w[None])[0] + bias,
        "method": lambda x, w: x.matmul(w) + bias,
    }
    with reduced_products("bfloat16"):
        found = {name: graded(spelling, (a, b)) for name, spelling in spellings.items()}
    first, first_grads = found["@"]
    for out, grads in found.values():
        torch.testing.assert_close(out, first, rtol=0, atol=1e-5)
        torch.testing.assert_close(grads, first_grads, rtol=0, atol=2e-4)


def test_attention_and_float64_are_left_alone():
    q = torch.randn(2, 4, 8, 16, generator=torch.Generator().manual_seed(0))
    wide = q[0, 0].double()
    with reduced_products("bfloat16"):
        fused, product = F.scaled_dot_product_attention(q, q, q, is_causal=True), wide @ wide.T
    assert torch.equal(fused, F.scaled_dot_product_attention(q, q, q, is_causal=True))
    assert torch.equal(product, wide @ wide.T)


def test_nothing_is_left_behind():
    a, b = pair(SHAPES[0])
    with pytest.raises(RuntimeError), reduced_products("bfloat16"):
        a @ a
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"
    assert torch.equal(a @ b, torch.matmul(a, b))


def test_an_unknown_precision_is_refused():
    with pytest.raises(RecipeError, match="unknown precision.*float32, mixed, bfloat16"):
        reduced_products("half")


def posterior(precision):
    config = TransformerConfig(layers=2, d_model=64, heads=4, context=24, vocabulary=90)
    params = init_params(config, seed=0)
    data = {"tokens": torch.randint(90, (4, 24), generator=torch.Generator().manual_seed(3))}
    subject = Subject(
        "small", params, partial(loss, config=config), data, {"base": data}, transformer_components(params),
        stages=TransformerStages(params, config, precision),
    )  # fmt: skip
    return LocalPosterior(subject, subject.components["0:1"], 30.0, 300.0)


@needs_bfloat16
def test_mixed_keeps_losses_and_rounds_gradients():
    found = {}
    for precision in ("float32", "mixed", "bfloat16"):
        one = posterior(precision)
        weights = one.center + 0.05 * torch.randn(3, len(one.center), generator=torch.Generator().manual_seed(0))
        batch = Minibatch(None, torch.tensor([[0, 1], [1, 2], [2, 0]]), torch.full((3, 2), 0.5))
        losses = one.losses(weights, one.data_carry(None))
        found[precision] = losses, one.weighted_gradient(weights, one.data_carry(None), batch)[1]
    (loss, grad), (mixed_loss, mixed_grad), (half_loss, half_grad) = found.values()
    assert torch.equal(loss, mixed_loss)
    assert 0 < float((half_loss - loss).abs().max()) < 0.05
    for other in (mixed_grad, half_grad):
        assert 0 < float((other - grad).norm() / grad.norm()) < 0.02
