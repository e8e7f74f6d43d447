"""What heads do in activations, and the controls that need no chain, against definitions written out."""

import pytest
import torch

from susceptometer.domains.attribution import follows_a_copy, head_activity
from susceptometer.domains.making import repeat_scores
from susceptometer.domains.pico import load_weights, making_of
from susceptometer.domains.scores import repeated_tokens
from susceptometer.domains.transformer import layer_norm, logits, loss, residual, streams
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer import shapes
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.posterior.subject import Subject
from susceptometer.structure.controls import first_order, gradient_size, zero_ablation

CONFIG = making_of("pico-mini").config
PARAMS = load_weights("pico-mini")


def rows(count, length, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, CONFIG.vocabulary, (count, length), generator=generator)


def subject(seed):
    wide = {name: value.double() for name, value in PARAMS.items()}
    data = {"tokens": rows(3, 12, seed)}
    return Subject(
        "mini", wide, lambda params, batch: loss(params, batch, CONFIG), data, {"base": data},
        transformer_components(shapes(CONFIG)), TransformerStages(wide, CONFIG),
    )  # fmt: skip


def test_direct_logits_of_all_heads_and_the_embedding_add_to_the_logit(seed):
    tokens = rows(4, 20, seed % 1000)
    found = head_activity(PARAMS, tokens, CONFIG).direct_logits.sum(0)
    seen, targets = tokens[:, :-1], tokens[:, 1:]
    whole = logits(PARAMS, seen, CONFIG)
    wanted = whole.gather(-1, targets[..., None])[..., 0] - whole.mean(-1)
    toward = PARAMS["unembed.W_U"] - PARAMS["unembed.W_U"].mean(1, keepdim=True)
    final = residual(PARAMS, seen, CONFIG)
    start = streams(PARAMS, seen, CONFIG)[0]
    scale = final.std(-1, unbiased=False, keepdim=True)
    centred = (start - start.mean(-1, keepdim=True)) / scale * PARAMS["ln_final.w"]
    rest = ((centred + PARAMS["ln_final.b"]) * toward.T[targets]).sum(-1)
    torch.testing.assert_close(found + rest, wanted, atol=2e-3, rtol=1e-3)
    assert layer_norm(final, PARAMS["ln_final.w"], PARAMS["ln_final.b"]).isfinite().all()


def test_attention_scores_on_repeats_are_those_of_the_model_card():
    block = (CONFIG.context - 2) // 2
    tokens = repeated_tokens(CONFIG.vocabulary, rows=16, block=block, seed=1)
    found = head_activity(PARAMS, tokens, CONFIG)
    prefix, previous, _ = repeat_scores(PARAMS, CONFIG)
    second = found.copying[..., block + 1 :].mean((1, 2)).reshape(prefix.shape)
    torch.testing.assert_close(second, prefix, atol=0.02, rtol=0.1)  # chance copies within a block differ
    torch.testing.assert_close(
        found.previous[..., 1:].mean((1, 2)).reshape(previous.shape), previous, atol=0.01, rtol=0.02
    )


def test_keys_that_follow_a_copy():
    found = follows_a_copy(torch.tensor([[5, 7, 5, 9, 5]]))[0]
    assert found.nonzero().tolist() == [[2, 1], [4, 1], [4, 3]]


def test_zero_ablation_is_the_loss_without_the_head(seed):
    one = subject(seed % 1000)
    heads = {name: one.components[name] for name in ("blocks.0.attn.head.1", "blocks.1.attn.head.3")}
    found = zero_ablation(one, heads)
    for place, (layer, head) in enumerate([(0, 1), (1, 3)]):
        params = {name: value.clone() for name, value in one.params.items()}
        params[f"blocks.{layer}.attn.W_O"][head] = 0
        rise = (one.loss(params, one.data) - one.loss(one.params, one.data)).flatten().numpy()
        assert found[place] == pytest.approx(rise, abs=1e-9)


def test_gradient_controls_are_those_of_autograd(seed):
    one = subject(seed % 1000)
    name = "blocks.1.attn.head.2"
    part = one.components[name]
    center = part.gather(one.params)

    def losses(flat):
        return one.loss(part.scatter(one.params, flat), one.data).flatten()

    jacobian = torch.autograd.functional.jacobian(losses, center, vectorize=True)
    exact = -(jacobian @ jacobian.mean(0))
    ours = torch.as_tensor(first_order(one, {name: part})[0])
    assert torch.corrcoef(torch.stack([exact, ours]))[0, 1] > 0.999
    assert float((ours @ exact) / (exact @ exact)) == pytest.approx(1, abs=0.03)
    size = torch.as_tensor(gradient_size(one, {name: part}, seed=seed, directions=256)[0])
    true = jacobian.square().sum(1)
    assert float(size.sum() / true.sum()) == pytest.approx(1, abs=0.15)
    assert torch.corrcoef(torch.stack([true, size]))[0, 1] > 0.9
