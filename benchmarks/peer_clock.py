"""Process CPU time of a devinterp run, split by stamping every call of its loss function."""

import resource
import statistics
import time
from collections.abc import Callable

import torch


def peak_megabytes() -> float:
    """Largest resident set of this process so far, in MB (10^6 bytes; Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class Clock:
    """A loss function ``(model, input_ids) -> [batch, K-1]`` that notes when it was called.

    Calls with gradients begin a chain step; calls without belong to the initial loss (before the first
    step) or to the observables of a draw.
    """

    def __init__(self, loss: Callable) -> None:
        self.loss = loss
        self.begin, self.end = time.process_time(), 0.0
        self.wall, self.wall_end = time.perf_counter(), 0.0
        self.calls: list[tuple[bool, float, float]] = []

    def __call__(self, model: torch.nn.Module, input_ids: torch.Tensor) -> torch.Tensor:
        stepping, begin = torch.is_grad_enabled(), time.process_time()
        out = self.loss(model, input_ids)
        self.calls.append((stepping, begin, time.process_time()))
        return out

    def stop(self) -> None:
        """Note the end of the run."""
        self.end, self.wall_end = time.process_time(), time.perf_counter()


def split(clock: Clock, *, steps_per_chain: int) -> tuple[list[float], list[float], float]:
    """CPU seconds of every step and of every draw's observables, and of the initial loss.

    A step lasts until the next call, the observables of a draw until the next step. At the end of a chain
    the next call belongs to another chain: there the observables end with their own last call, and a step
    without observables is left out (NaN).
    """
    steps: list[float] = []
    draws: list[float] = []
    initial, opened = 0.0, None
    for now, following in zip(clock.calls, [*clock.calls[1:], None], strict=True):
        stepping, begin, end = now
        last_of_chain = stepping and (len(steps) + 1) % steps_per_chain == 0
        next_is_step = following is None or following[0]
        if stepping:
            steps.append(float("nan") if last_of_chain and next_is_step else following[1] - begin)
        elif not steps:
            initial += end - begin
        else:
            opened = begin if opened is None else opened
            if next_is_step:
                closed = end if len(steps) % steps_per_chain == 0 else following[1]
                draws.append(closed - opened)
                opened = None
    return steps, draws, initial


def summary(clock: Clock, job: dict) -> dict:
    """CPU seconds by phase, medians per step and per draw, and counts."""
    per_chain = job["burn_in"] + job["draws"] * job["thin"]
    steps, draws, initial = split(clock, steps_per_chain=per_chain)
    median = statistics.median([s for s in steps if s == s])
    filled = [s if s == s else median for s in steps]
    burn_in = sum(s for i, s in enumerate(filled) if i % per_chain < job["burn_in"])
    total = clock.end - clock.begin
    return {
        "cpu_s": {
            "initial_loss": initial,
            "burn_in": burn_in,
            "sampling": sum(filled) - burn_in,
            "observables": sum(draws),
            "other": total - initial - sum(filled) - sum(draws),
            "total": total,
        },
        "wall_s": clock.wall_end - clock.wall,
        "cpu_s_per_step": median,
        "cpu_s_per_observable_pass": statistics.median(draws),
        "cpu_s_per_draw": (total - initial - burn_in) / len(draws),
        "steps": len(steps),
        "draws": len(draws),
    }
