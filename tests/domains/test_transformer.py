"""The functional transformer against a slow one written differently, and against its own symmetries."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, jvp, vmap

from susceptometer.domains import transformer as model
from susceptometer.domains.pico import pico_config
from susceptometer.domains.transformer_training import stacked_loss
from susceptometer.errors import DataError, SubjectError
from susceptometer.train.loop import stack

TINY = model.TransformerConfig(layers=2, d_model=12, heads=3, context=10, vocabulary=17)
WIDE = model.TransformerConfig(layers=1, d_model=8, heads=2, context=10, vocabulary=17, d_mlp=20)


def weights(config, seed, *, dtype=torch.float64):
    """Random weights without a special value anywhere (norms and biases included)."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: 0.5 * torch.randn(shape, generator=generator, dtype=dtype) for name, shape in model.shapes(config).items()
    }


def tokens(config, seed, rows=3, length=9):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(config.vocabulary, (rows, length), generator=generator)


def slow_norm(x, w, b):
    centred = x - x.mean()
    return centred / torch.sqrt(centred.pow(2).mean() + 1e-5) * w + b


def slow_head(params, layer, head, normed):
    """One head's output, position by position, with explicit sums over the past."""
    q, k, v, o = (params[f"blocks.{layer}.attn.W_{x}"][head] for x in "QKVO")
    place = params["pos_embed.W_pos"]
    out = []
    for i in range(len(normed)):
        query = (normed[i] + place[i]) @ q
        score = [query @ ((normed[j] + place[j]) @ k) / math.sqrt(len(query)) for j in range(i + 1)]
        share = torch.stack(score).exp() / torch.stack(score).exp().sum()
        out.append(sum(share[j] * (normed[j] @ v) for j in range(i + 1)) @ o)
    return torch.stack(out)


def slow_logits(params, row, config):
    x = torch.stack([params["embed.W_E"][t] for t in row])
    for layer in range(config.layers):
        p = {n.removeprefix(f"blocks.{layer}."): w for n, w in params.items()}
        normed = torch.stack([slow_norm(r, p["ln1.w"], p["ln1.b"]) for r in x])
        x = x + sum(slow_head(params, layer, h, normed) for h in range(config.heads))
        if config.d_mlp:
            normed = torch.stack([slow_norm(r, p["ln2.w"], p["ln2.b"]) for r in x])
            x = x + F.gelu(normed @ p["mlp.W_in"] + p["mlp.b_in"]) @ p["mlp.W_out"] + p["mlp.b_out"]
    final = torch.stack([slow_norm(r, params["ln_final.w"], params["ln_final.b"]) for r in x])
    return final @ params["unembed.W_U"]


@pytest.mark.parametrize("config", [TINY, WIDE])
def test_logits_equal_the_slow_model(config, seed):
    params, rows = weights(config, seed), tokens(config, seed)
    slow = torch.stack([slow_logits(params, row, config) for row in rows])
    torch.testing.assert_close(model.logits(params, rows, config), slow)


def test_loss_is_the_unreduced_cross_entropy_of_the_next_token(seed):
    params, rows = weights(TINY, seed), tokens(TINY, seed)
    logits = model.logits(params, rows, TINY)[:, :-1]
    wanted = F.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none")
    found = model.loss(params, {"tokens": rows}, TINY)
    assert found.shape == (3, 8)
    torch.testing.assert_close(found, wanted)


def test_no_token_sees_the_future(seed):
    params, rows = weights(TINY, seed), tokens(TINY, seed)
    other = rows.clone()
    other[:, 5] = (other[:, 5] + 1) % TINY.vocabulary
    before = model.loss(params, {"tokens": rows}, TINY)
    after = model.loss(params, {"tokens": other}, TINY)
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).all()


def test_patterns_are_causal_shares(seed):
    found = model.attention_patterns(weights(TINY, seed), tokens(TINY, seed), TINY)
    assert found.shape == (3, 2, 3, 9, 9)
    assert torch.equal(found, found.tril())
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 2, 3, 9, dtype=found.dtype))


def test_positions_reach_queries_and_keys_only(seed):
    params, rows = weights(TINY, seed), tokens(TINY, seed)
    blind = params | {f"blocks.{layer}.attn.W_Q": torch.zeros(3, 12, 4).double() for layer in (0, 1)}
    moved = {"pos_embed.W_pos": params["pos_embed.W_pos"] + 1}
    logits = model.logits(blind, rows, TINY)
    assert torch.equal(logits, model.logits(blind | moved, rows, TINY))
    assert not torch.allclose(model.logits(params, rows, TINY), model.logits(params | moved, rows, TINY))


def test_heads_add_up_to_the_attention_block(seed):
    params, rows = weights(TINY, seed), tokens(TINY, seed)
    block = model.block_weights(params, 0)
    normed, place = params["embed.W_E"][rows], params["pos_embed.W_pos"][:9]
    whole = model.attention(block, normed, place)
    alone = []
    for head in range(TINY.heads):
        only = torch.zeros(TINY.heads, 1, 1, dtype=torch.float64)
        only[head] = 1
        alone.append(model.attention(block | {"attn.W_O": block["attn.W_O"] * only}, normed, place))
    torch.testing.assert_close(sum(alone), whole)


def test_function_transforms(seed):
    params, batch = weights(TINY, seed), {"tokens": tokens(TINY, seed)}
    other = weights(TINY, seed + 1)

    def one(p):
        return model.loss(p, batch, TINY)

    both = vmap(one)(stack([params, other]))
    torch.testing.assert_close(both, torch.stack([one(params), one(other)]))
    step = 1e-6
    _, slope = jvp(one, (params,), (other,))
    ends = [one({n: w + s * step * other[n] for n, w in params.items()}) for s in (1, -1)]
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)
    slopes = grad(lambda p: one(p).sum())(params)
    along = sum((slopes[n] * other[n]).sum() for n in params)
    torch.testing.assert_close(along, slope.sum())


def test_starting_weights_are_fixed_by_the_seed_and_leave_the_global_state():
    state = torch.get_rng_state()
    first, again, other = (model.init_params(TINY, seed=s) for s in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["embed.W_E"], other["embed.W_E"])
    assert first.keys() == model.shapes(TINY).keys()
    assert {n: tuple(w.shape) for n, w in first.items()} == model.shapes(TINY)


def test_pico_has_the_size_its_card_says():
    assert sum(math.prod(shape) for shape in model.shapes(pico_config()).values()) == 557_824


@pytest.mark.parametrize("config", [TINY, WIDE])
def test_training_loss_and_gradient_equal_the_plain_ones(config, seed):
    models = [weights(config, seed + i, dtype=torch.float32) for i in (0, 1)]
    rows = torch.stack([tokens(config, seed + i) for i in (0, 1)])
    pull = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(seed))
    params = {name: w.requires_grad_() for name, w in stack(models).items()}
    losses = stacked_loss(params, {"tokens": rows}, config, dtype=torch.float32)
    (losses * pull).sum().backward()
    for i, own in enumerate(models):
        torch.testing.assert_close(losses[i], model.loss(own, {"tokens": rows[i]}, config))
        plain = grad(lambda p, i=i: (model.loss(p, {"tokens": rows[i]}, config) * pull[i]).sum())(own)
        for name, slope in plain.items():
            torch.testing.assert_close(params[name].grad[i], slope, rtol=2e-4, atol=2e-5)


def test_training_in_bfloat16_stays_near_the_plain_gradient():
    config = model.TransformerConfig(layers=2, d_model=32, heads=4, context=150, vocabulary=64)
    own = model.init_params(config, seed=3)
    rows = tokens(config, 4, rows=4, length=151)
    params = {name: w.requires_grad_() for name, w in stack([own]).items()}
    losses = stacked_loss(params, {"tokens": rows[None]}, config)
    losses.mean().backward()
    plain = model.loss(own, {"tokens": rows}, config)
    assert (losses[0] - plain).abs().max() < 0.05
    slopes = grad(lambda p: model.loss(p, {"tokens": rows}, config).mean())(own)
    for name, slope in slopes.items():
        assert (params[name].grad[0] - slope).norm() < 0.03 * slope.norm(), name


def test_bad_tokens_and_shapes_are_named():
    with pytest.raises(DataError, match=r"outside the vocabulary.*got 17.*17 rows"):
        model.check_tokens(torch.tensor([[3, 17]]), TINY)
    with pytest.raises(DataError, match=r"longer than the context.*got 12"):
        model.check_tokens(torch.zeros(1, 12, dtype=torch.long), TINY)
    with pytest.raises(SubjectError, match="not a multiple of heads"):
        model.TransformerConfig(layers=1, d_model=10, heads=4, context=8, vocabulary=8)
    model.check_tokens(torch.tensor([[0, 16]]), TINY)
