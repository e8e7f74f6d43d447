"""Passes as large as memory allows: the measured peak per event, a floor, a ceiling, and numbers that do not change."""

from dataclasses import replace

import pytest
import torch

from susceptometer.posterior import local
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.room import LARGEST, SHARE, events_in_room
from susceptometer.sampling.run import run_cell
from toy_subject import recipe, tiny


class Tape:
    """A meter with so many bytes free, for work that takes so many per event."""

    def __init__(self, free, each, events=100):
        self._free, self._taken, self.runs = free, each * events, 0

    def free(self):
        return self._free

    def peak(self, work):
        work()
        return self._taken


@pytest.mark.parametrize(
    ("free", "each", "expected"),
    [(10**9, 1000, int(SHARE * 10**6)), (10**5, 1000, 64), (10**15, 10, LARGEST), (10**9, 0, LARGEST)],
)
def test_events_follow_free_memory_between_a_floor_and_a_ceiling(free, each, expected):
    runs = []
    assert events_in_room(64, lambda: runs.append(1), 100, Tape(free, each)) == expected
    assert len(runs) == 2


def test_without_a_meter_the_number_is_fixed_and_nothing_is_tried():
    assert events_in_room(64, lambda: pytest.fail("tried"), 100, None) == 64


@pytest.mark.parametrize("each", [1000, 60])
def test_the_size_of_passes_moves_numbers_by_rounding_only(monkeypatch, each):
    one, how = tiny(), replace(recipe(2), batch_rows=4)

    def cell():
        return run_cell(LocalPosterior(one, one.components["0:0"], 10.0, 50.0), how, seed=1, groups=range(2))

    whole = cell()
    monkeypatch.setattr(local, "PASS_EVENTS", 1)
    monkeypatch.setattr(local, "OBSERVED_EVENTS", 1)
    monkeypatch.setattr(local, "meter_for", lambda center: Tape(10**4, each, events=128))
    posterior = LocalPosterior(one, one.components["0:0"], 10.0, 50.0)
    assert posterior.pass_events == int(SHARE * 10**4 / each) < 8192
    cut = cell()
    for name in ("loss", "sum_l", "sum_gl", "pair"):
        torch.testing.assert_close(
            torch.tensor(cut[name].values), torch.tensor(whole[name].values), rtol=1e-3, atol=1e-6
        )


@pytest.mark.gpu
def test_on_a_gpu_a_pass_of_that_size_fits():
    one = tiny().on("cuda")
    posterior = LocalPosterior(one, one.components["0:0"], 10.0, 50.0)
    before = torch.cuda.mem_get_info()[0]
    chains = max(1, posterior.observed_events // (6 * posterior.events))
    losses = posterior.losses(posterior.center.expand(chains, -1), posterior.data_carry(None))
    assert losses.is_cuda and torch.cuda.max_memory_allocated() < before
