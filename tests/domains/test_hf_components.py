"""Components of every family: sizes by hand, nothing outside moves, and heads add up to the attention block."""

import pytest
import torch

from domains.hf_family import FAMILIES, HEAD_WIDTH, KEY_VALUE_HEADS, TIED, model, subject
from susceptometer.domains.hf_components import hf_components
from susceptometer.domains.hf_model import skeleton
from susceptometer.domains.transformer import TransformerConfig, init_params, shapes
from susceptometer.domains.transformer_components import transformer_components

PARTS = ["0:2", "1:0", "0:q", "1:k", "0:v", "1:o", "0:kv0", "0:attn", "1:mlp", "0:mlp:n5", "1:mlp:n3-9",
         "0:ln1", "blocks.1", "embed", "unembed", "ln_final", "all"]  # fmt: skip
LEVER = 1e-2


def present(family):
    return [part for part in PARTS if part in subject(family).components]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_named_parts(family):
    missing = set(PARTS) - set(present(family)) - ({"0:ln1"} if family == "olmo2" else set())
    assert missing == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_by_hand(family):
    parts, width = subject(family).components, HEAD_WIDTH.get(family, 8)
    groups = KEY_VALUE_HEADS.get(family, 4)
    one = width * 32
    bias = int(any("bias" in name for name in parts["0:q"].params))
    assert len(parts["0:q"]) == 4 * (one + bias * width)
    assert len(parts["0:k"]) == len(parts["0:v"]) == groups * (one + bias * width)
    assert len(parts["0:0"]) == 4 * one + 3 * bias * width
    assert len(parts.match("blocks.0.attn.head.*")) == 4
    assert len(parts.match("blocks.0.attn.kv.*")) == groups
    assert (
        ("embed" in parts.match("embed_unembed")["embed_unembed"].aliases)
        if family in TIED
        else (parts["embed"].name == "embed" and parts["unembed"].name == "unembed")
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_gradient_and_same_bits_outside_nonzero_inside(family):
    one = subject(family)
    for part in present(family):
        component = one.components[part]
        flat = component.gather(one.params)
        moved = component.scatter(one.params, flat + LEVER)
        masks = component.masks()
        for name, value in one.params.items():
            mask = masks.get(name, torch.zeros(value.shape, dtype=torch.bool))
            assert torch.equal(moved[name][~mask], value[~mask]), (part, name)
            assert bool((moved[name][mask] != value[mask]).all()), (part, name)
        leaf = flat.clone().requires_grad_()
        (grad,) = torch.autograd.grad(one.loss(component.scatter(one.params, leaf), one.data).mean(), leaf)
        assert bool(grad.any()), part


@pytest.mark.parametrize("family", FAMILIES)
def test_each_piece_of_a_head_has_gradient(family):
    one = subject(family)
    component = one.components["1:1"]
    leaf = component.gather(one.params).requires_grad_()
    losses = one.loss(component.scatter(one.params, leaf), one.data)
    (grad,) = torch.autograd.grad(losses.mean(), leaf)
    # A key bias moves every score of a query alike, and softmax does not see it: its gradient is rounding.
    assert all(bool(part.any()) for part in component.split(grad))


class Writer:
    """Input and output of the module that writes attention into the residual stream of layer 0."""

    def __init__(self, one):
        self.one = one
        name = one.components["0:o"].params[0].removesuffix(".weight")
        self.module = one.loss.model.get_submodule(name)

    @torch.no_grad()
    def seen(self, params):
        caught = {}
        handle = self.module.register_forward_hook(lambda _module, args, out: caught.update(read=args[0], wrote=out))
        try:
            self.one.loss(params, self.one.data)
        finally:
            handle.remove()
        return caught["read"], caught["wrote"]


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_add_up_to_the_attention_block(family):
    """Zeroing heads' output columns: contributions of all heads sum to the block's output."""
    one = subject(family)
    writer = Writer(one)
    _, whole = writer.seen(one.params)
    silent = dict(one.params)
    name = one.components["0:o"].params[0]
    silent[name] = torch.zeros_like(silent[name])
    _, nothing = writer.seen(silent)
    total = torch.zeros_like(whole)
    for number in range(4):
        head = one.components[f"0:{number}"]
        alone = dict(silent)
        mask = head.masks()[name]
        alone[name] = one.params[name] * mask
        total += writer.seen(alone)[1] - nothing
    torch.testing.assert_close(total, whole - nothing, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_moves_only_its_own_columns(family):
    """Changing a head's q, k, v changes what the output module reads in that head's columns (and its group's)."""
    one = subject(family)
    if family == "olmo2":
        pytest.skip("its q and k norms run over all heads, so heads touch each other by design")
    writer, width = Writer(one), HEAD_WIDTH.get(family, 8)
    before, _ = writer.seen(one.params)
    share = 4 // KEY_VALUE_HEADS.get(family, 4)
    for number in range(4):
        head = one.components[f"0:{number}"]
        after, _ = writer.seen(head.scatter(one.params, head.gather(one.params) + 0.1))
        moved = (after != before).flatten(0, 1).any(0).view(4, width).any(1)
        first = number // share * share
        assert moved.nonzero().flatten().tolist() == list(range(first, first + share))


@pytest.mark.parametrize("family", FAMILIES)
def test_disjoint_where_they_should_be(family):
    parts = subject(family).components
    split = parts.match("embed | unembed | blocks.*.attn.q | blocks.*.attn.k | blocks.*.attn.v | **.o | mlps")
    assert split.disjoint()
    left_over = {name.rsplit(".", 1)[-1] for name in split.uncovered()}
    assert left_over <= {"weight", "bias"}
    for name in split.uncovered():
        assert subject(family).params[name].ndim == 1 or "wpe" in name or "positions" in name
    heads = parts.match("heads")
    assert heads.disjoint() == (family not in KEY_VALUE_HEADS)
    assert not parts.match(
        "layers | embed | unembed | ln_final | pos_embed*"
        if "pos_embed" in parts
        else "layers | embed | unembed | ln_final"
    ).uncovered()


@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_cover_the_mlp_up_to_output_bias(family):
    parts = subject(family).components
    neurons = parts.match("0:mlp:n*")
    assert neurons.disjoint()
    assert len(parts["0:mlp"]) - len(neurons.union("neurons")) in {0, 32}


def test_q_and_k_norms_belong_to_no_head():
    parts = subject("qwen3").components
    norms = {*parts["0:attn.q_norm"].params, *parts["0:attn.k_norm"].params}
    assert norms and not norms & set(parts.match("heads").union("heads").params)
    assert norms <= set(parts["0:attn"].params)


def test_an_unknown_layer_still_gives_layers_and_linear_modules():
    import transformers as hf

    config = hf.MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=31)
    parts = hf_components(skeleton(hf.MambaForCausalLM(config)))
    assert "blocks.1" in parts and "blocks.0.mixer.in_proj" in parts and "0:0" not in parts
    assert len(parts.match("param:norm")["param:norm"]) == 3 * 16


def test_users_model_is_untouched():
    before = {name: (id(value), value.requires_grad) for name, value in model("llama").named_parameters()}
    subject("llama").stages.serves(subject("llama").components["0:0"])
    after = {name: (id(value), value.requires_grad) for name, value in model("llama").named_parameters()}
    assert before == after and model("llama").training
    assert model("llama").config._attn_implementation == "sdpa"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model("llama").modules())


@pytest.mark.parametrize("d_mlp", [0, 24])
def test_own_transformer_has_the_same_names(d_mlp):
    config = TransformerConfig(layers=2, d_model=16, heads=4, context=8, vocabulary=31, d_mlp=d_mlp)
    params = init_params(config, seed=0)
    parts = transformer_components(shapes(config))
    assert len(parts["1:2"]) == 4 * 16 * 4
    assert parts.match("heads").disjoint() and len(parts.match("heads")) == 8
    split = parts.match(
        "heads | embed | unembed | pos_embed | ln_final | **.ln1" + (" | mlps | **.ln2" if d_mlp else "")
    )
    assert split.disjoint() and not split.uncovered()
    assert len(parts["all"]) == sum(value.numel() for value in params.values())
    if d_mlp:
        assert len(parts["0:mlp:n3"]) == 2 * 16 + 1
    flat = parts["0:q"].gather(params)
    torch.testing.assert_close(flat, params["blocks.0.attn.W_Q"].reshape(-1))
