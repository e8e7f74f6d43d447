"""Each defect reproduced in devinterp 2.0.1, one test that it cannot happen here (numbers of the peer report)."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
import xarray as xr
from torch import Tensor

import susceptometer
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.hf import language_subject
from susceptometer.errors import ChainError, ComponentError, RunError, SubjectError
from susceptometer.estimate.influence import influence, influence_blocks
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import susceptibility_two_run
from susceptometer.posterior.component import component_from_masks, whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import independent
from susceptometer.sampling.reading import Reading, read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.run import Keep
from susceptometer.sampling.sgld import SGLD
from susceptometer.sampling.sgnht import SGNHT

N_BETA, GAMMA, STEP = 100.0, 1.0, 4e-3
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 61,
         "intermediate_size": 48, "max_position_embeddings": 64}  # fmt: skip


def quadratic_loss(params: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Rows ``c``: (1 + c) |w|^2 / 2, ``[rows]``."""
    return (1 + batch["c"]) * params["w"].square().sum() / 2


def quadratic(size: int, *, c: Tensor | None = None, loss=quadratic_loss) -> Subject:  # noqa: ANN001
    rows = {"c": torch.zeros(1) if c is None else c}
    params = {"w": torch.zeros(size)}
    return Subject(name="quadratic", params=params, loss=loss, data=rows, probes={"base": rows},
                   components={"all": whole_component("all", params)})  # fmt: skip


def recipe(groups: int = 8, *, sampler: object = None, burn_in: int = 100, draws: int = 100) -> Recipe:
    schedule = Schedule(groups=groups, burn_in=burn_in, draws=draws, thin=2)
    return Recipe(sampler=sampler or SGLD(step_size=STEP), schedule=schedule, n_beta=N_BETA,
                  gamma=GAMMA, coupling=independent())  # fmt: skip


def sampled(subject: Subject, how: Recipe, *, keep: Keep | None = None) -> Reading:
    return read_here(subject, subject.components, how, seed=3, keep=keep)


def exact_llc(size: int) -> float:
    stiff = N_BETA + GAMMA
    return N_BETA * size / 2 / (stiff * (1 - STEP * stiff / 4))


def tokens(rows: int = 3, length: int = 9) -> Tensor:
    return torch.randint(61, (rows, length), generator=torch.Generator().manual_seed(1))


def language(model: hf.PreTrainedModel) -> Subject:
    return language_subject(model, tokens(), {"base": tokens()})


def test_1_burn_in_never_enters_the_learning_coefficient():
    """20 weights, exact LLC 10: 400 of 600 steps are burn-in and leave no trace in the estimate."""
    how = recipe(burn_in=400, draws=100)
    reading = sampled(quadratic(20), how)
    assert reading.cell("all").sizes["draw"] == 100
    estimate = llc(reading)
    assert abs(float(estimate.z(exact_llc(20))[0])) < 4
    by_hand = N_BETA * float(reading.cell("all")["loss"].mean())
    np.testing.assert_allclose(float(estimate.value[0]), by_hand, rtol=1e-6)


def test_2_a_failed_chain_is_refused_not_averaged_away():
    """A loss that turns NaN away from w* gives a status, and no estimator answers unasked."""

    def torn(params: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        return torch.where(params["w"][0] > 0.2, torch.nan, 1.0) * quadratic_loss(params, batch)

    reading = sampled(quadratic(4, loss=torn), recipe(burn_in=0))
    assert (reading.cell("all")["status"].values != 0).any()
    with pytest.raises(ChainError, match="failed"):
        llc(reading)


def test_3_a_folder_never_answers_for_another_model(tmp_path):
    """One output folder, first 4 weights, then 400: the second call is refused by name."""
    ask = {"recipe": recipe(2, draws=2, burn_in=0), "seed": 1, "into": tmp_path / "run",
           "options": ReadOptions(progress=False)}  # fmt: skip
    small, large = quadratic(4), quadratic(400)
    read(small, small.components, **ask)
    with pytest.raises(RunError):
        read(large, large.components, **ask)


def test_4_dropout_is_off_while_sampling():
    """GPT-2 with its default dropout, handed over in training mode: no weight moves, no loss moves."""
    model = hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=61)).train()
    subject = language(model)
    still = recipe(2, sampler=SGLD(step_size=0.0), burn_in=0, draws=3)
    reading = read_here(subject, {"part": subject.components["l0h0"]}, still, seed=0)
    assert np.abs(reading.cell("part")["loss"].values).max() == 0
    assert model.training, "the user's own model is left as it was"


def test_4_a_loss_with_its_own_randomness_is_refused():
    """Dropout in a hand-written loss cannot pass for structure."""

    def noisy(params: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        return quadratic_loss(params, batch) + torch.rand(1)

    with pytest.raises(SubjectError, match="differ"):
        quadratic(3, loss=noisy)


@pytest.mark.parametrize(("family", "width"), [("Qwen3", 16), ("Gemma2", 16)])
def test_5_grouped_heads_take_whole_key_value_heads(family, width):
    """head_dim 16 where hidden/heads is 8: head 1 owns all 16 key rows of its group."""
    config = getattr(hf, f"{family}Config")(**SHAPE, num_key_value_heads=2, head_dim=width)
    subject = language(getattr(hf, f"{family}ForCausalLM")(config))
    masks = subject.components["l0h1"].masks()
    key = next(mask for name, mask in masks.items() if name.endswith("k_proj.weight"))
    query = next(mask for name, mask in masks.items() if name.endswith("q_proj.weight"))
    assert key.all(1).nonzero().reshape(-1).tolist() == list(range(width))
    assert query.all(1).nonzero().reshape(-1).tolist() == list(range(width, 2 * width))


def test_6_no_selection_is_ever_empty():
    """``unembed``, ``embed`` and ``mlp`` hold weights where devinterp's tables find none."""
    subject = language(hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SHAPE)))
    for name in ("unembed", "embed", "blocks.0.mlp", "l0h0"):
        assert len(subject.components[name]) > 0
    tied = hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=61))
    assert len(language(tied).components["unembed"]) >= 61 * 32
    with pytest.raises(ComponentError, match="no weights"):
        component_from_masks("nothing", {"w": torch.zeros(3, dtype=torch.bool)})


def test_7_the_thermostat_is_a_thermostat():
    """SGNHT on a quadratic: variance x (n_beta + gamma) is 1 within 10 %, not 0.02."""
    how = recipe(16, sampler=SGNHT(step_size=0.02), burn_in=300, draws=200)
    distance2 = sampled(quadratic(20), how).cell("all")["distance2"].mean()
    assert abs(float(distance2) / 20 * (N_BETA + GAMMA) - 1) < 0.1


def test_8_half_precision_weights_never_hold_a_chain():
    """Small steps would round away: raw bfloat16 weights are refused, models get a float32 master copy."""
    with pytest.raises(SubjectError, match="half precision"):
        replace(quadratic(4), params={"w": torch.ones(4, dtype=torch.bfloat16)})
    subject = language(hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SHAPE)).bfloat16())
    assert {value.dtype for value in subject.params.values()} == {torch.float32}


def test_9_loss_and_observables_belong_to_the_same_state():
    """The stored loss of draw t is the loss at the stored weights of draw t."""
    keep = Keep(weights=True, tokens=True)
    cell = sampled(quadratic(5), recipe(2, draws=6), keep=keep).cell("all")
    at_weights = np.square(cell["kept_weights"].values.astype(float)).sum(-1) / 2
    np.testing.assert_allclose(cell["loss"].values, at_weights, rtol=1e-5)
    np.testing.assert_allclose(cell["kept_tokens"].values.mean(-1), at_weights, rtol=1e-5)


def test_10_both_parts_of_the_two_run_value_are_reported():
    """1 of 200 weights, losses (1+c)|w|^2/2: chi_w falls and the two-run value rises with c."""
    subject = quadratic(200, c=torch.linspace(-0.5, 0.5, 5))
    mask = torch.zeros(200, dtype=torch.bool)
    mask[0] = True
    parts = {"one": component_from_masks("one", {"w": mask}), "full": subject.components["all"]}
    chi = susceptibility_two_run(read_here(subject, parts, recipe(8, draws=200), seed=5)).data
    one = chi.sel(component="one")
    xr.testing.assert_allclose(one["value"], one["within"] + one["mean_term"])
    within, value = (np.polyfit(np.linspace(-0.5, 0.5, 5), one[k], 1)[0] for k in ("within", "value"))
    assert within < 0 < value


def test_11_influence_is_computed_block_by_block():
    """The matrix of one pair of blocks is s x t, never (s + t)^2, and blocks agree with the whole."""
    subject = quadratic(6, c=torch.linspace(-0.5, 0.5, 7))
    reading = sampled(subject, recipe(4, draws=20), keep=Keep(tokens=True))
    left, right = np.arange(5), np.arange(7)
    whole = influence(reading, "all", sources=left, targets=right)
    assert whole.value.shape == (5, 7)
    blocks = list(influence_blocks(reading, "all", sources=left, targets=right, block=3))
    assert max(part.value.size for part in blocks) <= 9
    joined = np.zeros((5, 7))
    for part in blocks:
        joined[np.ix_(part.data["source"], part.data["target"])] = part.value
    np.testing.assert_allclose(joined, whole.value)


@pytest.mark.parametrize("name", ["blocks.0.attn.head.1", "L0H1", "l0h1", "0:1"])
def test_12_lens_names_find_heads_in_the_model_itself(name):
    """TransformerLens-like names resolve on a GPT-NeoX without TransformerLens's renamed parameters."""
    subject = language(hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SHAPE)))
    assert len(subject.components[name]) == 3 * (8 * 32 + 8) + 8 * 32


def test_global_random_states_are_untouched():
    """devinterp reseeds numpy, torch and random; a reading leaves all three alone."""
    before = (random.getstate()[1], np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    sampled(quadratic(4), recipe(2, draws=2, burn_in=0))
    after = (random.getstate()[1], np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert before == after


def test_only_the_public_interface_of_zarr_is_used():
    """zarr 3.2 renamed private names that devinterp imports; ours imports none."""
    sources = Path(susceptometer.__file__).parent.rglob("*.py")
    assert not [path for path in sources if "zarr.core" in path.read_text()]
