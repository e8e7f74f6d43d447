"""Parentheses: which of two algorithms a transformer learns is decided by planned data (wang2026; task of li2025)."""

from collections.abc import Sequence

import numpy as np

from susceptometer.domains.parentheses_probes import PROPERTIES
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.parentheses_arms import SIZES, controls, planned, read, trained
from susceptometer.reproduce.parentheses_claims import Results, all_claims
from susceptometer.reproduce.registry import Reproduction
from susceptometer.reproduce.setting import Setting


def run(setting: Setting) -> Sequence[Claim]:
    """Base arm, readings of its solutions, planned arms, controls, claims."""
    size = SIZES[setting.scale]
    base = trained(setting, size, "base", np.zeros(len(PROPERTIES)))
    basins, found = read(setting, size, base)
    wanted = {**planned(found, size), **controls(setting, size)}
    arms = {name: trained(setting, size, name, h) for name, h in wanted.items()}
    return all_claims(Results(size, basins, found, {"base": base, **arms}))


def facts(setting: Setting) -> dict[str, str]:
    """What a reader must know about the arms."""
    size = SIZES[setting.scale]
    return {
        "seeds": f"{size.seeds} models per arm, the same starts and random numbers in every arm",
        "not as specified": f"{size.random} random directions instead of 5, single probes run: {list(size.singles)}, "
        "sum |h| above 0.4; the arms with larger |h| and with a floor were added after the first pair was seen",
    }


REPRODUCTION = Reproduction(
    name="patterning-parentheses",
    about="Parentheses: whether a transformer learns Nested or Equal-Count is decided by planned training data.",
    sources=("wang2026", "li2025"),
    run=run,
    facts=facts,
    cost={
        "smoke": "about 15 s on one core",
        "cpu": "about 5 minutes on one idle core (9 arms of 20 models, 6 readings)",
        "gpu": "60 models per arm, 3,000 steps, all single probes: hours on a CPU, not measured on a GPU",
    },
)
