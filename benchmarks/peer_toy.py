"""devinterp on a toy potential of a few weights: its bare chain loop, the fastest entry it has."""

import time

import numpy as np
import torch
from devinterp.optim.sgmcmc import SGMCMC
from devinterp.slt.sampler import sample_single_chain
from torch import Tensor, nn


class Toy(nn.Module):
    """L(w) = |w|^2 / 2 on ``weights`` weights, centred on w* = 0."""

    def __init__(self, weights: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(weights))

    def forward(self) -> Tensor:
        return (self.w * self.w).sum() / 2


class OneRow(torch.utils.data.Dataset):
    """A single empty example; devinterp caches it after the first pass, so batches cost nothing."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"input_ids": torch.zeros(1, dtype=torch.int64)}


def evaluate(model: Toy, batch: dict) -> tuple[Tensor, dict]:
    """devinterp's evaluation protocol: the loss ``[1]`` and no further results."""
    return model().reshape(1), {}


def run_toy(job: dict) -> dict:
    """``chains`` chains of ``burn_in + draws * thin`` steps; CPU seconds per chain-step and the LLC."""
    model, losses = Toy(job["weights"]), np.empty((job["chains"], job["draws"]))

    def keep(*, model: Toy, chain: int, draw: int, **_) -> None:
        losses[chain, draw] = float(model())

    steps = job["burn_in"] + job["draws"] * job["thin"]
    begin, wall = time.process_time(), time.perf_counter()
    for chain in range(job["chains"]):
        sample_single_chain(
            model,
            OneRow(),
            evaluate,
            {"w": None},
            num_draws=job["draws"],
            num_burnin_steps=job["burn_in"],
            num_steps_bw_draws=job["thin"],
            sampling_method=SGMCMC.sgld,
            chain=chain,
            seed=job["seed"] + chain,
            batch_size=1,
            sampling_method_kwargs={"lr": job["step_size"], "nbeta": job["n_beta"], "localization": job["gamma"]},
            callbacks=[keep],
            shuffle=False,
        )
    cpu = time.process_time() - begin
    per_chain = job["n_beta"] * losses.mean(1)
    return {
        "llc": float(per_chain.mean()),
        "llc_se": float(per_chain.std(ddof=1) / len(per_chain) ** 0.5),
        "cpu_s_per_step": cpu / (steps * job["chains"]),
        "steps": steps * job["chains"],
        "cost": {"cpu_s": {"total": cpu}, "wall_s": time.perf_counter() - wall},
    }
