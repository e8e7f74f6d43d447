"""The staged engine against the plain path: same losses, same gradients, for every family and kind of component."""

import pytest
import torch

from domains.hf_family import FAMILIES, model, subject
from susceptometer.domains.hf_model import skeleton
from susceptometer.domains.hf_stages import HFStages
from susceptometer.posterior.component import component_from_masks
from susceptometer.posterior.plain import PlainStages
from susceptometer.posterior.stages import Stages

PARTS = ["0:1", "1:3", "0:q", "1:v", "1:o", "0:kv0", "0:mlp", "1:mlp:n3-9", "1:ln1", "0:ln1_post", "0:attn.q_norm",
         "ln_final", "embed", "pos_embed", "unembed", "blocks.1", "all"]  # fmt: skip
ROWS = torch.tensor([[0, 1], [2, 1], [4, 3]])


def both(one, component, rows, *, seed=0):
    """Staged and plain losses at three chains, and their gradients of a random weighting."""
    generator = torch.Generator().manual_seed(seed)
    center = component.gather(one.params)
    weights = center + 0.03 * torch.randn((3, len(component)), generator=generator)
    weights.requires_grad_()
    plain = PlainStages(one.params, one.loss, vmapped=False)
    found = []
    for stages in (one.stages, plain):
        losses = stages.losses(component, weights, stages.prefix(component, one.data), rows)
        pull = torch.randn(losses.shape, generator=torch.Generator().manual_seed(1))
        found.append((losses.detach(), torch.autograd.grad((losses * pull).sum(), weights)[0]))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_same_losses_and_gradients(family):
    one = subject(family)
    for number, part in enumerate(part for part in PARTS if part in one.components):
        component = one.components[part]
        assert one.stages.serves(component), (part, one.stages.refused)
        rows = ROWS if number % 2 else None
        (losses, grad), (plain_losses, plain_grad) = both(one, component, rows)
        torch.testing.assert_close(losses, plain_losses, rtol=1e-5, atol=2e-6)
        scale = float(plain_grad.abs().max())
        torch.testing.assert_close(grad / scale, plain_grad / scale, rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "gemma2"])
def test_scattered_masks_and_algebra(family):
    one = subject(family)
    generator = torch.Generator().manual_seed(3)
    masks = {name: torch.rand(value.shape, generator=generator) < 0.1 for name, value in one.params.items()}
    anything = component_from_masks("one weight in ten", masks)
    pair = one.components["0:1"] | one.components["1:mlp"]
    for component in (anything, pair, one.components.complement(one.components["0:attn"])):
        assert one.stages.serves(component), one.stages.refused
        (losses, grad), (plain_losses, plain_grad) = both(one, component, ROWS)
        torch.testing.assert_close(losses, plain_losses, rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(grad, plain_grad, rtol=1e-3, atol=1e-5)


def test_without_gradient_and_with_cached_carry():
    one = subject("llama")
    component = one.components["1:2"]
    carry = one.stages.prefix(component, one.data)
    assert set(carry) == {"tokens", "hidden"} and carry["hidden"].shape == (5, 8, 32)
    assert not carry["hidden"].requires_grad
    weights = component.gather(one.params)[None] + torch.linspace(0, 0.1, 4)[:, None]
    with torch.no_grad():
        whole = one.stages.losses(component, weights, carry, None)
        part = one.stages.losses(component, weights, carry, torch.tensor([[3], [0], [0], [4]]))
    assert whole.shape == (4, 5, 8)
    torch.testing.assert_close(part[:, 0], whole[range(4), [3, 0, 0, 4]], rtol=1e-5, atol=1e-6)


def test_frozen_layers_are_not_run_again():
    one = subject("gpt_neox")
    component, calls = one.components["1:0"], []
    carry = one.stages.prefix(component, one.data)
    inner = one.stages.layers[0].attention
    handle = inner.register_forward_hook(lambda *_: calls.append(1))
    one.stages.losses(component, component.gather(one.params)[None], carry, None)
    handle.remove()
    assert calls == []


def test_it_is_a_stages_and_leaves_no_trace():
    one = subject("qwen3")
    assert isinstance(one.stages, Stages)
    component = one.components["all"]
    weights = component.gather(one.params)[None]
    one.stages.losses(component, weights, one.stages.prefix(component, one.data), None)
    for module in one.stages.model.modules():
        assert "forward" not in module.__dict__
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert not any(value.requires_grad for value in one.stages.model.parameters())


def test_an_error_inside_leaves_no_trace():
    one = subject("llama")
    component = one.components["0:0"]
    with pytest.raises(RuntimeError):
        one.stages.losses(component, torch.zeros(2, 7), one.stages.prefix(component, one.data), None)
    assert not any("forward" in module.__dict__ for module in one.stages.model.modules())


def test_a_model_that_does_not_fit_falls_back():
    twin = skeleton(model("llama"))
    twin.model.layers[0].self_attn.o_proj.forward = None
    stages = HFStages(skeleton(model("llama")))
    original = type(stages)._run
    try:
        HFStages._run = lambda self, *args: original(self, *args) + 0.5
        assert not stages.serves(subject("llama").components["0:0"])
    finally:
        HFStages._run = original
    assert "differ" in stages.refused["blocks.0.attn.head.0"]


@pytest.mark.parametrize(("precision", "tolerance"), [("mixed", 1e-5), ("bfloat16", 0.05)])
def test_half_precision_products_change_little(precision, tolerance):
    one = subject("gpt_neox")
    component = one.components["0:1"]
    stages = HFStages(one.stages.model, precision)
    assert stages.serves(component), stages.refused
    weights = component.gather(one.params)[None]
    carry = one.stages.prefix(component, one.data)
    with torch.no_grad():
        near = stages.losses(component, weights, carry, None)
        exact = one.stages.losses(component, weights, carry, None)
    assert (near - exact).abs().max() < tolerance


def test_fused_attention_only_where_it_gives_the_same_logits():
    used = {family: subject(family).stages.attention for family in FAMILIES}
    assert used["gpt_neox"] == used["llama"] == used["mistral"] == "sdpa"
    assert used["gemma2"] == "eager"  # capped scores, which the fused kernel leaves out
    assert used["falcon_sequential"] == "eager"  # its fused form adds the position bias otherwise
    one = subject("llama").stages
    assert one.model.config._attn_implementation == "eager"


def test_a_fused_kernel_with_other_logits_is_not_used(monkeypatch):
    from transformers import AttentionInterface

    original = AttentionInterface()["sdpa"]

    def damped(*args, **options):
        return original(*args, **options | {"scaling": 0.9 * (options.get("scaling") or 1.0)})

    twin = skeleton(model("llama"))
    monkeypatch.setitem(AttentionInterface._global_mapping, "sdpa", damped)
    assert HFStages(twin).attention == "eager"
