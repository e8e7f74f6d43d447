"""Embryology (wang2025): how the cloud of susceptibility vectors takes shape over training."""

from susceptometer.domains.token_text import TextPlan
from susceptometer.reproduce.language_reading import ReadingPlan
from susceptometer.reproduce.setting import Scale

PLANS: dict[Scale, ReadingPlan] = {
    "smoke": ReadingPlan(
        name="rows65", model="pico-mini", text=TextPlan(length=65, data_rows=32, base_rows=4, probe_rows=2),
        domain_rows=2, made_rows={"arithmetic": 1, "brackets": 1, "repeats": 1, "white space": 2}, groups=6, draws=1,
        tilt_rows=2, batch_rows=1, full_draws=4, characters=30_000,
    ),
    "cpu": ReadingPlan(
        name="rows129", text=TextPlan(length=129, data_rows=256, base_rows=8, probe_rows=4), domain_rows=2,
        made_rows={"arithmetic": 1, "brackets": 1, "repeats": 1, "white space": 4}, groups=8, draws=3, tilt_rows=4,
    ),
    "gpu": ReadingPlan(
        name="rows257", text=TextPlan(length=257, data_rows=1024, base_rows=16, probe_rows=8), domain_rows=6,
        made_rows={"arithmetic": 2, "brackets": 2, "repeats": 2, "white space": 8}, groups=16, draws=12, tilt_rows=16,
        full_draws=32,
    ),
}  # fmt: skip
