"""The contract of every sampler, parametrised over the table ``SAMPLERS``."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exact_subject import read, recipe, score, subject
from susceptometer.errors import RecipeError
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import susceptibility
from susceptometer.posterior.component import Component, mask_piece
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.plain import PlainStages
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.base import Info
from susceptometer.sampling.coupling import antithetic, coupled, independent
from susceptometer.sampling.mala import MALA
from susceptometer.sampling.noise import GroupBatches, GroupNoise
from susceptometer.sampling.recipe import SAMPLERS
from susceptometer.sampling.rmsprop import RMSpropSGLD
from susceptometer.sampling.run import Keep, run_cell, slope_fn
from susceptometer.sampling.sghmc import SGHMC
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.sampling.sgnht import SGNHT
from susceptometer.testbed import gaussian
from susceptometer.testbed.form import Form
from susceptometer.testbed.transient import ValleyRun

CASES = {
    "SGLD": SGLD(step_size=4e-3),
    "LeimkuhlerMatthews": LeimkuhlerMatthews(step_size=4e-3),
    "RMSprop frozen": RMSpropSGLD(step_size=1e-3, freeze_after=4),
    "RMSprop adaptive": RMSpropSGLD(step_size=1e-3, freeze_after=None),
    "RMSprop divergence": RMSpropSGLD(step_size=1e-3, freeze_after=None, divergence=True),
    "SGHMC": SGHMC(step_size=2e-3),
    "SGNHT": SGNHT(step_size=0.04),
    "MALA": MALA(step_size=4e-3),
}
TEMPER = (20.0, 20.0)
SYSTEM = gaussian.random_quadratic(3, sizes=(3, 2), tokens=6, spread=0.7)
every = pytest.mark.parametrize("name", CASES)


def plan_for(name, *, step_size=None, temper=TEMPER, schedule=(4, 5, 6), coupling=None):
    sampler = CASES[name] if step_size is None else replace(CASES[name], step_size=step_size)
    return recipe(sampler, temper, coupling=coupling, schedule=schedule)


def run(plan, *, model=None, groups=range(4), seed=1, component="block0"):
    model = model or subject(SYSTEM)
    posterior = LocalPosterior(model, model.components[component], plan.n_beta, plan.gamma)
    return run_cell(posterior, plan, seed=seed, groups=groups, keep=Keep(weights=True))


class Silent:
    """No noise at all; every proposal is accepted."""

    def __init__(self, like):
        self.like = like

    def normal(self):
        return torch.zeros_like(self.like)

    def uniform(self):
        return torch.full_like(self.like[:, 0], 1e-300)


def test_every_sampler_of_the_table_is_here():
    assert {type(sampler).__name__ for sampler in CASES.values()} == set(SAMPLERS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every
def test_shapes_and_precision(name, dtype):
    """init and step keep [chains, d] and the precision of w*, and leave the start untouched."""
    model = subject(SYSTEM)
    model = model.with_params({k: v.to(dtype) for k, v in model.params.items()})
    posterior = LocalPosterior(model, model.components["full"], *TEMPER)
    start = posterior.center.expand(4, -1).clone()
    kept, plan = start.clone(), plan_for(name)
    noise = GroupNoise(1, ("law",), range(4), independent(), posterior.center)

    batches = GroupBatches(posterior, plan, seed=1, groups=range(4))
    state = plan.sampler.init(start, noise)
    for _ in range(3):
        state, info = plan.sampler.step(state, slope_fn(posterior, batches, 0.0), noise)
        assert state.position.shape == (4, 5)
        assert state.position.dtype == dtype
    assert torch.equal(start, kept)
    if plan.sampler.exact_gradient:
        assert set(info.accepted.unique().tolist()) <= {0.0, 1.0}


@every
def test_numbers_depend_on_seed_and_group_only(name):
    """Same seed: bit-identical. Another seed: other numbers. A group alone: the same up to rounding."""
    plan = plan_for(name, coupling=antithetic())
    first, again, other = run(plan), run(plan), run(plan, seed=2)
    assert first.equals(again)
    assert not np.allclose(first["loss"], other["loss"])
    alone = run(plan, groups=[2])
    for key in ("loss", "sum_gl", "kept_weights"):
        assert np.allclose(first[key].sel(group=[2]), alone[key], rtol=1e-6, atol=1e-12)


@every
def test_global_random_state_is_untouched(name):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    run(plan_for(name))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", [name for name in CASES if name != "RMSprop divergence"])
def test_without_noise_a_step_is_a_gradient_step(name):
    """From rest, w' = w - rate grad U with the rate of the sampler's own equation."""
    model = subject(SYSTEM)
    posterior = LocalPosterior(model, model.components["full"], *TEMPER)
    start = (posterior.center + 0.1).expand(2, -1).clone()

    plan = plan_for(name)
    batches = GroupBatches(posterior, plan, seed=1, groups=range(2))
    slope, sampler, noise = slope_fn(posterior, batches, 0.0), plan.sampler, Silent(start)
    v = torch.full((5,), 0.1, dtype=torch.float64)
    loss_gradient = torch.as_tensor(SYSTEM.base.gradient(v.numpy()))
    if name == "SGHMC":
        rate = sampler.step_size
    elif name == "SGNHT":
        rate = sampler.step_size**2
    elif name.startswith("RMSprop"):
        rate = sampler.step_size / (loss_gradient.abs() + sampler.floor) / 2
    else:
        rate = sampler.step_size / 2
    moved, _ = sampler.step(sampler.init(start, noise), slope, noise)
    step = rate * (TEMPER[0] * loss_gradient + TEMPER[1] * v)
    assert torch.allclose(moved.position, start - step, rtol=0, atol=1e-12)


@every
def test_weights_outside_the_component_are_bit_identical(name):
    """Identity 8.9: a loss that turns NaN when any other weight moves by one bit stays finite."""
    center = {"w": torch.linspace(0.3, 1.1, 12, dtype=torch.float64).reshape(3, 4), "u": torch.ones(2).double()}
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[1, 1:3] = True
    mask[0, 0] = True
    part = Component("part", (mask_piece("w", mask),))

    def loss(params, batch):
        same = (params["w"] == center["w"]) | mask
        outside = same.all() & (params["u"] == center["u"]).all()
        value = ((params["w"] - center["w"]) ** 2).sum()
        return torch.where(outside, value, torch.nan) * (1.0 + batch["x"])

    data = {"x": torch.zeros(2, dtype=torch.float64)}
    copies = {key: value.clone() for key, value in center.items()}
    model = Subject("guard", center, loss, data, {"base": data}, {"part": part})
    cell = run(plan_for(name, coupling=antithetic()), model=model, component="part")
    assert np.isfinite(cell["loss"]).all()
    assert (cell["loss"] > 0).all()
    assert all(torch.equal(model.params[key], value) for key, value in copies.items())
    assert not torch.isfinite(loss({**center, "u": center["u"] + 1e-15}, data)).any()


@every
def test_step_size_zero_reads_exactly_zero(name):
    """Identity 8.8: every draw is w*, so chi and the learning coefficient are exactly zero, and say that nothing moved."""
    frozen = isinstance(CASES[name], RMSpropSGLD) and CASES[name].freeze_after is None
    coupling = antithetic() if frozen or name == "MALA" else coupled()
    plan = plan_for(name, step_size=0.0, coupling=coupling)
    reading = read(subject(SYSTEM), plan, 1, components=("block0",))
    assert (reading.cells["block0"]["distance2"] == 0).all()
    with pytest.warns(RuntimeWarning, match="never moved"):
        assert (llc(reading).value == 0).all()
    with pytest.warns(RuntimeWarning, match="never moved"):
        assert (susceptibility(reading).value == 0).all()


@every
def test_strong_pull_freezes(name):
    """gamma -> infinity at fixed eps gamma: the chain stays at w*."""
    small = 1e-6 if name == "SGNHT" else 1e-13
    cell = run(plan_for(name, step_size=small, temper=(20.0, 1e12), coupling=antithetic()))
    assert float(np.sqrt(cell["distance2"].max())) < 1e-4
    assert float(cell["distance2"].min()) > 0


@every
def test_renaming_parameters_changes_nothing(name):
    renamed = gaussian.Quadratic(SYSTEM.tokens, SYSTEM.anchor, (("attn.W_Q", 3), ("zz", 2)))
    model, plan = subject(renamed), plan_for(name)
    part = replace(model.components["attn.W_Q"], name="block0")
    model = replace(model, components={"block0": part})
    assert run(plan, model=model).equals(run(plan))


@every
def test_loss_and_n_beta_trade_their_unit(name):
    """(L, n_beta) and (2 L, n_beta/2) give bit-identical chains (the preconditioner in its own unit)."""
    twice = gaussian.Quadratic(
        Form(2 * SYSTEM.tokens.hessian, 2 * SYSTEM.tokens.slope, SYSTEM.tokens.constant), SYSTEM.anchor, SYSTEM.parts
    )
    plan = plan_for(name)
    sampler = plan.sampler
    if isinstance(sampler, RMSpropSGLD):
        sampler = replace(sampler, step_size=2 * sampler.step_size, floor=2 * sampler.floor)
    scaled = replace(plan, sampler=sampler, n_beta=plan.n_beta / 2)
    one, other = run(plan), run(scaled, model=subject(twice))
    assert np.array_equal(one["kept_weights"], other["kept_weights"])
    if name not in {"RMSprop divergence", "MALA"}:
        assert np.array_equal(one["distance2"], other["distance2"])


def test_a_moving_preconditioner_cannot_be_coupled():
    """Each arm would carry its own preconditioner, whose answer would be measured too (conventions 7.2)."""
    with pytest.raises(RecipeError, match="preconditioner"):
        plan_for("RMSprop adaptive", coupling=coupled())


@pytest.mark.parametrize("half_state", [False, True])
def test_float32_state_under_a_bfloat16_forward_pass(half_state, monkeypatch):
    """500 directions around w = 1, eps 1e-4: the LLC is right although products are bfloat16; a bfloat16 state
    is far off (learning-coefficient 10).
    """
    size, temper = 500, (100.0, 1.0)
    params = {"w": torch.ones(size)}

    def loss(params, batch):
        gap = (params["w"] - 1).float()
        return 0.5 * gap.square().sum() * (1.0 + batch["x"])

    data = {"x": torch.zeros(1)}
    part = Component("w", (mask_piece("w", torch.ones(size, dtype=torch.bool)),))
    model = Subject(
        "one", params, loss, data, {"base": data}, {"w": part},
        stages=PlainStages(params, loss, forward_dtype=torch.bfloat16),
    )  # fmt: skip
    if half_state:

        def step(self, state, slope, noise):
            drift = state.position - self.step_size / 2 * slope(state.position).total
            moved = drift.bfloat16() + (self.step_size**0.5 * noise.normal()).bfloat16()
            return state._replace(position=moved.float()), Info()

        monkeypatch.setattr(SGLD, "step", step)
    plan = recipe(SGLD(step_size=1e-4), temper, schedule=(32, 300, 60, 3))
    value = temper[0] * read(model, plan, 3, components=("w",)).cells["w"]["loss"].values.mean((1, 2))
    law = ValleyRun(curvatures=np.ones(size), n_beta=temper[0], gamma=temper[1], step_size=1e-4)
    exact = law.llc
    assert (abs(value.mean() / exact - 1) < 0.03) != half_state
    assert np.isfinite(score(value, exact))
