"""Chains that do not contract are said to be so; healthy ones are left in peace."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from exact_subject import read, recipe, split, subject
from susceptometer.errors import ChainError
from susceptometer.estimate.contraction import contraction, h_dependence
from susceptometer.estimate.convergence import normal_score
from susceptometer.estimate.diagnostics import check
from susceptometer.estimate.examine import examine
from susceptometer.estimate.llc import llc
from susceptometer.estimate.surroundings import surroundings
from susceptometer.estimate.susceptibility import susceptibility, susceptibility_coupled
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling.coupling import coupled, independent
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.testbed import gaussian
from susceptometer.testbed.form import Form


@dataclass(frozen=True)
class Wells:
    """Independent double wells of depth ``depth`` at +-1, tilted apart by two tokens; w* on the ridge."""

    size: int
    depth: float

    @property
    def center(self):
        return {"w": torch.zeros(self.size, dtype=torch.float64)}

    @property
    def data(self):
        return {"index": torch.arange(2)}

    def loss(self, params, batch):
        w = params["w"]
        return self.depth * ((w**2 - 1) ** 2).sum() + 0.1 * (2.0 * batch["index"] - 1) * w.sum()


def test_double_wells_are_refused_and_the_default_falls_back():
    """Item 7: arms that sit in different wells raise a status; the default says covariance, the pair refuses."""
    plan = recipe(SGLD(step_size=0.05), (20.0, 0.5), coupling=coupled(), schedule=(16, 100, 100))
    reading = read(subject(Wells(8, 0.25)), plan, 3, components=("w",))
    verdict = contraction(reading.cells["w"], plan)
    assert not verdict.valid
    with pytest.raises(ChainError, match="do not contract"):
        susceptibility_coupled(reading)
    assert susceptibility(reading).data["estimator"].values.tolist() == ["covariance"]


def test_negative_curvature_without_confinement_is_a_failed_chain():
    """n_beta lambda_min + gamma < 0 on a quadratic: no posterior, every estimator refuses."""
    tokens = Form(np.array([[[-1.0]], [[-2.0]]]), np.zeros((2, 1)), np.zeros(2))
    model = subject(gaussian.Quadratic(tokens, np.zeros(1), (("w", 1),)))
    plan = recipe(SGLD(step_size=0.05), (10.0, 5.0), coupling=coupled(), schedule=(8, 40, 40))
    reading = read(model, plan, 3, components=("w",))
    for estimator in (susceptibility, susceptibility_coupled):
        with pytest.raises(ChainError, match="groups failed"):
            estimator(reading)


def with_seed(reading, seed):
    return replace(reading, provenance={"seed": seed})


def test_values_at_h_and_at_half_of_it():
    """Test 4, planted: at h = 0.8 a quadratic answers 2.3 times as much as at 0.4; said, refused, fallen back."""
    system = gaussian.random_quadratic(2, sizes=(5,), tokens=6, spread=0.3)
    model, plan = (
        subject(system),
        recipe(LeimkuhlerMatthews(step_size=1e-2), (60.0, 2.0), coupling=coupled(0.8), schedule=(16, 200, 100, 2)),
    )
    reading = read(model, plan, 3, components=("block0",))
    assert susceptibility(reading).data["estimator"].values.tolist() == ["coupled"], "not seen without more runs"
    seen = examine(model, reading)
    verdict = contraction(seen.cells["block0"], plan)
    print(verdict.faults)
    assert [fault[:2] for fault in verdict.faults] == ["h:"]
    with pytest.raises(ChainError, match="values at h and h/2 differ"):
        susceptibility_coupled(seen)
    assert susceptibility(seen).data["estimator"].values.tolist() == ["covariance"]
    assert any("h/2" in fault for fault in check(reading, model).rows[0].faults)


def test_curvature_where_the_chains_go():
    """Test 5, planted: eight shallow double wells have a direction of negative curvature at nearly every draw."""
    model = subject(Wells(8, 0.25))
    plan = recipe(LeimkuhlerMatthews(step_size=0.02), (4.0, 0.5), coupling=coupled(), schedule=(16, 200, 60))
    seen = examine(model, read(model, plan, 3, components=("w",)))
    verdict = contraction(seen.cells["w"], plan)
    print(verdict.faults)
    assert any(fault.startswith("curvature: the softest") for fault in verdict.faults)
    with pytest.raises(ChainError, match="do not contract"):
        susceptibility_coupled(seen)
    quick = replace(plan, sampler=SGLD(step_size=3.9 / 5.5), gamma=0.5)
    found = surroundings(LocalPosterior(model, model.components["w"], 4.0, 0.5), plan, seed=1).tests(quick)
    assert found["speed"] > 4


@pytest.mark.parametrize("size", [1, 6])
def test_healthy_chains_pass_the_further_tests(size):
    """No alarm by h or curvature on quadratics at h = 0.1, whatever the number of groups."""
    system = gaussian.random_quadratic(2, sizes=(size,), tokens=4, spread=0.3)
    model = subject(system)
    plan = recipe(LeimkuhlerMatthews(step_size=1e-2), (20.0, 10.0), coupling=coupled(), schedule=(800, 30, 30))
    reading = read(model, plan, 3, components=("block0",))
    half = read(model, replace(plan, coupling=coupled(0.05)), 3, components=("block0",))
    for groups in (4, 8):
        pairs = zip(split(reading, groups), split(half, groups), strict=True)
        found = [h_dependence(one.cells["block0"], two.cells["block0"]) for one, two in pairs]
        alarms = [test["h_share"] > 0.1 and test["h_score"] > 3 for test in found]
        assert sum(alarms) <= 1 + 1e-3 * len(alarms)
    seen = examine(model, next(split(with_seed(reading, 3), 4)))
    verdict = contraction(seen.cells["block0"], plan)
    assert verdict.valid
    assert 0 < verdict.softest < 1e3
    assert 0 < verdict.speed < 4


@pytest.mark.parametrize(("size", "sampler"), [(1, LeimkuhlerMatthews), (6, SGLD)])
def test_false_alarms(size, sampler):
    """Healthy coupled runs raise a status in at most 0.1 % of components, at 4, 8 and 32 groups."""
    system = gaussian.random_quadratic(2, sizes=(size,), tokens=4, spread=0.3)
    plan = recipe(sampler(step_size=1e-2), (20.0, 10.0), coupling=coupled(), schedule=(4096, 30, 30))
    reading = read(subject(system), plan, 3, components=("block0",))
    for groups in (4, 8, 32):
        alarms = [not contraction(r.cells["block0"], plan).valid for r in split(reading, groups)]
        print(f"d {size}, {groups} groups: {sum(alarms)} alarms in {len(alarms)}")
        assert sum(alarms) <= 1 + 1e-3 * len(alarms)


def test_growth_is_seen_with_few_groups():
    """Separations that grow in every group are named although only four groups vote."""
    system = gaussian.random_quadratic(2, sizes=(6,), tokens=4, spread=0.3)
    plan = recipe(SGLD(step_size=1e-2), (20.0, 10.0), coupling=coupled(), schedule=(4, 30, 60))
    cell = read(subject(system), plan, 3, components=("block0",)).cells["block0"].copy(deep=True)
    cell["separation"].values[:] *= np.exp(0.3 * np.arange(90))
    assert contraction(cell, plan).growth_z > 4


def test_failed_groups_do_not_spoil_the_verdict_on_the_rest():
    """The posterior radius is that of healthy chains, so ``drop_failed`` can judge the others."""
    system = gaussian.random_quadratic(2, sizes=(3,), tokens=4, spread=0.3)

    def loss(params, batch):
        w = params["block0"] - torch.as_tensor(system.anchor)
        lost = (w.abs() > 0.9).any()
        return system.loss(params, batch) + torch.where(lost, torch.inf, 0.0) * w.sum()

    plan = recipe(SGLD(step_size=2e-2), (20.0, 10.0), coupling=coupled(), schedule=(64, 32, 32))
    reading = read(subject(system, loss=loss), plan, 5, components=("block0",))
    bad = int((reading.cells["block0"]["status"] != 0).sum())
    assert 0 < bad < 60
    with pytest.raises(ChainError, match=f"{bad} of 64 groups failed"):
        susceptibility_coupled(reading)
    assert np.isfinite(reading.cells["block0"].attrs["radius"])
    found = susceptibility_coupled(reading, drop_failed=True)
    assert found.groups == 64 - bad
    assert np.isfinite(found.value).all()


def test_thinned_draws_are_the_recorded_steps():
    """Saturation and tails look at the steps that were recorded, whatever the thinning."""
    system = gaussian.random_quadratic(2, sizes=(3,), tokens=4, spread=0.3)
    plan = recipe(SGLD(step_size=1e-2), (20.0, 10.0), coupling=coupled(), schedule=(8, 20, 10, 4))
    cell = read(subject(system), plan, 5, components=("block0",)).cells["block0"].copy(deep=True)
    gaps = cell["separation"].values
    gaps[:] = 0.0
    gaps[..., 23::4] = cell.attrs["radius"]
    assert abs(contraction(cell, plan).saturation - 1) < 1e-5


def test_drift_alarms_as_often_with_four_groups_as_with_many():
    """A limit of 3 means 0.3 % of healthy chains whatever the number of groups (t values would give 5.8 % at 4)."""
    noise = np.random.default_rng(0).standard_normal((8000, 4))
    share = np.mean([abs(normal_score(row)) > 3 for row in noise])
    assert share < 0.006
    assert np.mean(np.abs(noise.mean(1)) / (noise.std(1, ddof=1) / 2) > 3) > 0.04
    assert normal_score(np.array([1.0, 1.1, 0.9, 1.0])) > 3 > abs(normal_score(noise[0]))


def test_chains_that_never_move_are_said_to_be_so():
    """A step below the resolution of the weights gives 0 +- 0; the estimate warns, `check` names the fault, no ESS is claimed."""
    plan = recipe(SGLD(step_size=1e-30), (20.0, 0.5), coupling=independent(), schedule=(4, 0, 10))
    reading = read(subject(Wells(8, 0.25)), plan, 3, components=("w",))
    row = check(reading).rows[0]
    assert any("4 of 4 groups never moved" in fault for fault in row.faults)
    assert np.isnan(row.ess)
    with pytest.warns(RuntimeWarning, match="never moved"):
        assert float(llc(reading).data["error"].item()) == 0
