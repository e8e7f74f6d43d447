"""A long covariance run against the coupled value on a real network (conventions 7.8 item 4).

python benchmarks/bench_long_covariance.py [HEAD] [STEP_SIZE]

Full-batch gradients, U, g and f on the same 16 rows of pico, 32 antithetic groups of 60 draws. Prints the slope of the
covariance column on the coupled one with its leave-one-group-out error, and their correlation over tokens.
"""

import sys

import numpy as np
import torch
from bench_snr import centred, subject_of, without

from susceptometer.estimate.estimate import jackknife
from susceptometer.estimate.susceptibility import susceptibility_coupled, susceptibility_covariance
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews

STEP = 4e-3


def column(subject, head, plan, estimator):
    """The centred column and its values with one group left out, ``[tokens]`` and ``[groups, tokens]``."""
    reading = read_here(subject, {head: subject.components[head]}, plan, seed=5)
    left = [centred(estimator(without(reading, i))) for i in range(plan.schedule.groups)]
    return centred(estimator(reading)), np.stack(left)


def recipe(step_size, coupling, schedule):
    """n_beta 30, gamma 300, full batch."""
    sampler = LeimkuhlerMatthews(step_size=step_size)
    return Recipe(sampler=sampler, schedule=schedule, n_beta=30.0, gamma=300.0, coupling=coupling)


def main(head="blocks.1.attn.head.7", step_size=STEP):
    """Slope and correlation for one head at one step size."""
    torch.set_num_threads(1)
    subject = subject_of("pico")
    short = recipe(STEP, coupled(0.1), Schedule(groups=8, burn_in=9, draws=30))
    best, _ = column(subject, head, short, susceptibility_coupled)
    burn_in, thin = round(9 * STEP / step_size), max(1, round(STEP / step_size))
    long = recipe(step_size, antithetic(), Schedule(groups=32, burn_in=burn_in, draws=60, thin=thin))
    value, left = column(subject, head, long, susceptibility_covariance)
    slope, error = jackknife(value @ best / (best @ best), left @ best / (best @ best))
    print(
        f"{head}, step {step_size:g}: slope {slope:.3f} ± {error:.3f}, correlation {np.corrcoef(value, best)[0, 1]:.3f}"
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*given[:1], *map(float, given[1:2]))
