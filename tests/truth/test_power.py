"""Planted faults must be caught: each turns a truth test red, and the healthy code leaves it green."""

import numpy as np
import pytest
import torch

from exact_subject import K, noisy_subject, read, recipe, score, subject
from susceptometer.posterior.component import Component
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling import noise as noise_module
from susceptometer.sampling import run as run_module
from susceptometer.sampling.coupling import Coupling, antithetic, coupled
from susceptometer.sampling.moments import Moments, ProbeReader
from susceptometer.sampling.noise import GroupBatches, GroupNoise
from susceptometer.sampling.run import Keep
from susceptometer.sampling.sgld import SGLD
from susceptometer.testbed import gaussian, lyapunov, pathwise

SYSTEM = gaussian.random_quadratic(3, sizes=(4, 2), tokens=6, spread=0.7)
SMALL = SYSTEM.restrict(range(4))
TEMPER, EPS = (20.0, 20.0), 1e-2
CHAIN = lyapunov.sgld(SMALL.energy(*TEMPER), EPS)


def run(*, schedule, coupling=None, keep=None, seed=31):
    plan = recipe(SGLD(step_size=EPS), TEMPER, coupling=coupling, schedule=schedule)
    return read(subject(SYSTEM), plan, seed, components=("block0",), keep=keep).cells["block0"]


# --- truth tests: the healthy code makes each return |z| < 5 ---------------------------------------


def llc_score():
    cell = run(schedule=(256, 40, 60, 2))
    return score(TEMPER[0] * cell["loss"].values.mean((1, 2)), gaussian.llc(SMALL, CHAIN.law(), TEMPER[0]))


def start_score():
    """Loss of the second draw after w*."""
    loss = run(schedule=(1024, 0, 2))["loss"].values[:, 0, 1]
    return score(loss, SMALL.base.mean(CHAIN.law_at(2)) - SMALL.base.constant)


def lag_score():
    """Covariance of consecutive draws two steps apart."""
    cell = run(schedule=(512, 40, 30, 2), keep=Keep(weights=True))
    v = cell["kept_weights"].values[:, 0].astype(float) - SMALL.anchor - CHAIN.law().mean
    ahead = np.einsum("gti,gti->g", v[:, 1:], v[:, :-1]) / (v.shape[1] - 1)
    return score(ahead, np.trace(CHAIN.lagged(2)))


def covariance_score():
    """Mean of g (l - l*) of one token, per group."""
    cell = run(schedule=(512, 40, 60, 2), coupling=antithetic())
    law, base, token = CHAIN.law(), SMALL.base, SMALL.tokens[0]
    product = base.covariance(token, law) + (base.mean(law) - base.constant) * (token.mean(law) - token.constant)
    return score(cell["sum_gl"].values[:, 0] / 120, product)


def pair_score():
    cell = run(schedule=(256, 60, 60, 2), coupling=coupled(0.1))
    plus, minus = pathwise.pair_energies(SMALL, *TEMPER, offset=2.0)
    laws = [lyapunov.sgld(e, EPS).law() for e in (plus, minus)]
    exact = pathwise.pair_susceptibility(SMALL, *laws, offset=2.0)
    pair = cell["pair"].values.sum(1) / 60
    return score(pair - pair.mean(1, keepdims=True), exact)


def mini_batch_pair_score():
    """Section 9.3 with G = 0.8: an independent response batch."""
    model = noisy_subject(gaussian.fixture(), np.diag([0.8, 0.3]))
    plan = recipe(
        SGLD(step_size=1e-3), (30.0, 300.0), coupling=Coupling(h=0.05), batch_rows=1, schedule=(512, 30, 60, 3)
    )
    pair = read(model, plan, 5, components=("first",)).cells["first"]["pair"].values.sum(1) / 60
    return score(pair[:, 0] - pair.mean(1), -9.070504e-5)


def antithetic_score():
    """On a quadratic the mean of mirrored chains moves without noise: its distance from the exact path."""
    cell = run(schedule=(32, 0, 5), coupling=antithetic(), keep=Keep(weights=True))
    middle = cell["kept_weights"].values.mean(1)[:, -1].astype(float) - SMALL.anchor
    return float(np.abs(middle - CHAIN.law_at(5).mean).max() / 1e-5)


def distinct_score():
    """Groups are independent: the mean product of neighbouring groups' first displacements is zero."""
    cell = run(schedule=(512, 0, 1), keep=Keep(weights=True))
    v = cell["kept_weights"].values[:, 0, 0].astype(float) - SMALL.anchor - CHAIN.law_at(1).mean
    return score((v[0::2] * v[1::2]).sum(1), 0.0)


# --- faults ----------------------------------------------------------------------------------------


def scaled_slope(patch, **factors):
    healthy = LocalPosterior.slope

    def slope(self, weights, batch):
        here = healthy(self, weights, batch)
        return here._replace(**{name: getattr(here, name) * by for name, by in factors.items()})

    patch.setattr(LocalPosterior, "slope", slope)


def loud_noise(patch):
    healthy = GroupNoise.normal
    patch.setattr(GroupNoise, "normal", lambda self: healthy(self) * 2**0.5)


def leaking_mask(patch):
    healthy = Component.scatter

    def scatter(self, params, flat):
        out = healthy(self, params, flat)
        moved = flat[:2] - params["block0"][:2]
        return {**out, "block1": params["block1"] + moved}

    patch.setattr(Component, "scatter", scatter)


def other_center(patch):
    patch.setattr(ProbeReader, "center", lambda self: torch.as_tensor(np.roll(SYSTEM.tokens.constant, 1)) + 0.01)


def one_stream(patch):
    healthy = noise_module.stream
    patch.setattr(noise_module, "stream", lambda seed, *names: healthy(seed, *names[:-1]))


def late_observable(patch):
    """The loss of a draw belongs to the weights before its step."""
    healthy = Moments._base_mean

    def stale(self, pieces):
        now = healthy(self, pieces)
        before = torch.cat([self.__dict__.get("stale", now[:1]), now[:-1]])
        self.__dict__["stale"] = now[-1:]
        return before

    patch.setattr(Moments, "_base_mean", stale)


def early_draw(patch):
    """Every draw holds the weights of the step before."""
    healthy = run_module.note_draw
    seen = {}

    def note(book, posterior, position, draw, keep):
        before = seen.get("position", posterior.center.expand_as(position))
        seen["position"] = position
        healthy(book, posterior, before, draw, keep)

    patch.setattr(run_module, "note_draw", note)


def thin_by_one_more(patch):
    healthy = run_module.run_cell

    def longer(posterior, plan, **settings):
        return healthy(posterior, plan.with_schedule(thin=plan.schedule.thin + 1), **settings)

    patch.setattr("susceptometer.sampling.reading.run_cell", longer)


def shared_batch(patch):
    healthy = GroupBatches.__init__

    def init(self, *args, **settings):
        healthy(self, *args, **settings)
        self._coupling = Coupling(h=self._coupling.h, shared_batch=True)

    patch.setattr(GroupBatches, "__init__", init)


def same_sign(patch):
    patch.setattr(Coupling, "noise_signs", lambda self: torch.ones(self.members))


def pair_times(patch, factor):
    healthy = Moments.__init__

    def init(self, *args, tilt, **settings):
        healthy(self, *args, tilt=tilt * factor, **settings)

    patch.setattr(Moments, "__init__", init)


FAULTS = {
    "noise sqrt(2 eps)": (llc_score, loud_noise),
    "drift eps": (llc_score, lambda p: scaled_slope(p, likelihood=2, pull=2)),
    "gamma dropped": (llc_score, lambda p: scaled_slope(p, pull=0)),
    "gamma doubled": (llc_score, lambda p: scaled_slope(p, pull=2)),
    "n_beta 10 % high": (llc_score, lambda p: scaled_slope(p, likelihood=1.1)),
    "mask leak": (llc_score, leaking_mask),
    "L(w*) on other examples": (llc_score, other_center),
    "one noise stream": (distinct_score, one_stream),
    "loss before the step": (covariance_score, late_observable),
    "draw of the step before": (start_score, early_draw),
    "thinning off by one": (lag_score, thin_by_one_more),
    "shared response batch": (mini_batch_pair_score, shared_batch),
    "antithetic sign dropped": (antithetic_score, same_sign),
    "sign of chi": (pair_score, lambda p: pair_times(p, -1)),
    "factor 2 in the pair": (pair_score, lambda p: pair_times(p, 2)),
}


@pytest.mark.parametrize("truth", sorted({t.__name__ for t, _ in FAULTS.values()}))
def test_healthy_code_is_green(truth):
    """Without a fault every truth test stays within five standard errors."""
    assert abs(globals()[truth]()) < K


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_red(fault, monkeypatch):
    """With the fault the same truth test is off by more than five standard errors."""
    truth, plant = FAULTS[fault]
    plant(monkeypatch)
    z = truth()
    print(f"{fault}: z = {z:.1f}")
    assert not abs(z) < K
