"""The run of all weights only supplies means: it walks without response arms, stored or in memory alike."""

import numpy as np

from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import extend, read
from susceptometer.estimate.diagnostics import check
from susceptometer.estimate.susceptibility import susceptibility_two_run
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.testbed import gaussian

from exact_subject import subject

PLAN = Recipe(
    sampler=LeimkuhlerMatthews(step_size=1e-2), schedule=Schedule(groups=4, burn_in=20, draws=10), n_beta=20.0,
    gamma=20.0, coupling=coupled(0.1),
)  # fmt: skip


def test_full_has_no_arms_and_half_the_chains(tmp_path):
    """Same cells from disk and from memory; check and the two-run form take them; extending keeps the shape."""
    model = subject(gaussian.random_quadratic(6, sizes=(4, 2), tokens=4, spread=0.5))
    names, quiet = ["block0", "full"], ReadOptions(progress=False)
    stored = read(model, names, recipe=PLAN, seed=1, into=tmp_path / "run", options=quiet)
    here = read_here(model, {name: model.components[name] for name in names}, PLAN, seed=1)
    for reading in (stored, here):
        assert {name: reading.cell(name).sizes["member"] for name in names} == {"block0": 4, "full": 2}
        assert reading.cell("full").sizes["half"] == 0
        assert np.isfinite(susceptibility_two_run(reading).value).all()
        assert [row.component for row in check(reading).rows] == names
    assert np.allclose(stored.cell("full")["loss"], here.cell("full")["loss"], rtol=1e-6)
    longer = extend(tmp_path / "run", model, groups=8, options=quiet)
    assert dict(longer.cell("full").sizes)["member"] == 2
    assert longer.cell("full").sizes["group"] == 8
