r"""Sampling the posterior of a noisy machine on the corner eps >= 0, in u = log eps.

    density in u:  exp(-n_beta phi(e^u) + sum_v u_v)    inside the box {sum of every simplex < 1/2}, uniform in eps

Scales n^-1 and n^-1/2 coexist in eps, in u all of them are of order one. Two samplers that share no step: Metropolis
on one coordinate at a time, and the package's own MALA with gradients by autograd. n_beta E[phi] estimates lambda up to
(m - 1)/log n_beta.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.potential import Potential, Values
from susceptometer.errors import RecipeError
from susceptometer.estimate.estimate import Estimate
from susceptometer.posterior.local import Slope
from susceptometer.rng import stream
from susceptometer.sampling.coupling import independent
from susceptometer.sampling.mala import MALA
from susceptometer.sampling.noise import GroupNoise

BOX = 0.5
"""Each simplex keeps at least half of its weight on the correct value: chains stay at this machine."""


@dataclass(frozen=True)
class Region:
    """What keeps chains at the machine: the box of simplex sums, and a Gaussian pull as in ``LocalPosterior``.

    Args:
        box: Largest sum of the errors of one square.
        gamma: Strength of (gamma/2) |eps|²; 0 for none.
    """

    box: float
    gamma: float


BOXED = Region(box=BOX, gamma=0.0)
"""The uniform law on the box: the prior of the exact results."""

WIDTH = 2.0
"""Standard deviation of a Metropolis proposal in log eps."""


@dataclass(frozen=True)
class CornerRun:
    """Chains on the corner.

    Args:
        potential: Loss whose posterior was sampled.
        n_beta: Inverse temperature, 1/nats.
        energy: n_beta phi of every kept sweep and chain ``[sweeps, chains]``.
        eps: Last positions ``[d, chains]``.
        acceptance: Share of accepted proposals.
        inputs: n_beta f_x of every kept sweep ``[sweeps, inputs, chains]``, if it was asked for (Metropolis only).
    """

    potential: Potential
    n_beta: float
    energy: np.ndarray
    eps: np.ndarray
    acceptance: float
    inputs: np.ndarray | None = None

    @property
    def llc(self) -> Estimate:
        """n_beta E[phi] with the spread between chains as error; ``drift`` is second half minus first half."""
        first, second = np.array_split(self.energy, 2)
        gap = second.mean(0) - first.mean(0)
        value, error = _mean(self.energy.mean(0))
        drift, drift_error = _mean(gap)
        data = xr.Dataset({"value": value, "error": error, "drift": drift, "drift_error": drift_error})
        return Estimate("llc", data, self.energy.shape[1], "1")


def _mean(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


@dataclass(frozen=True)
class Sweeps:
    """How long: independent chains and sweeps, of which the first third is dropped.

    Args:
        chains: Independent chains, at least 2.
        sweeps: Metropolis: passes over all coordinates; MALA: steps.
        inputs: Whether Metropolis also keeps the loss of every input.

    Raises:
        RecipeError: Too few.
    """

    chains: int
    sweeps: int
    inputs: bool = False

    def __post_init__(self) -> None:
        if self.chains < 2 or self.sweeps < 6:
            raise RecipeError(
                "too few chains or sweeps",
                where="Sweeps",
                value=(self.chains, self.sweeps),
                why="an error needs two chains, a drift two halves",
                do="use e.g. Sweeps(300, 300)",
            )

    def kept(self, energy: np.ndarray) -> np.ndarray:
        """The sweeps after burn-in."""
        return energy[self.sweeps // 3 :]


def metropolis(
    potential: Potential,
    n_beta: float,
    sweeps: Sweeps,
    *,
    region: Region = BOXED,
    device: str | None = None,
    seed: int,
) -> CornerRun:
    """Coordinate-wise Metropolis in log eps; starts at eps = n_beta^-1/2, or well inside the box.

    Args:
        potential: The loss phi; called on ``[d, chains]``.
        n_beta: Inverse temperature.
        sweeps: Length.
        region: Prior on the corner.
        device: None: numpy, fastest for some hundred chains; else a torch device, for many thousands.
        seed: Names the random stream.
    """
    machine = potential.machine
    groups = _groups(machine)
    names = ("programs", "metropolis", machine.name, potential.form, potential.semantics, n_beta)
    numbers = _Numbers(stream(seed, *names, device=device or "cpu"), plain=device is None)
    xp = np if device is None else torch
    start = min(n_beta**-0.5, region.box / (2 * max(map(len, groups.values()))))
    shape = (machine.dim, sweeps.chains)
    u = numbers.normal(shape) * 0 + float(np.log(start))
    energy, record, rows, accepted = n_beta * potential(xp.exp(u)), [], [], 0.0
    for _ in range(sweeps.sweeps):
        jumps, levels = numbers.normal(shape), xp.log(numbers.uniform(shape))
        for v in range(machine.dim):
            moved = u[v] + WIDTH * jumps[v]
            eps = xp.exp(u)
            eps[v] = xp.exp(moved)
            inside = eps[groups[v]].sum(0) < region.box
            eps[v] = xp.where(inside, eps[v], xp.exp(u[v]))
            new = n_beta * potential(eps)
            pull = region.gamma / 2 * (eps[v] ** 2 - xp.exp(2 * u[v]))
            take = inside & (levels[v] < energy - new - pull + moved - u[v])
            u[v] = xp.where(take, moved, u[v])
            energy = xp.where(take, new, energy)
            accepted += float(take.sum()) / sweeps.chains
        record.append(_plain(energy))
        if sweeps.inputs:
            rows.append(n_beta * _plain(potential.by_input(xp.exp(u))))
    rate = accepted / (sweeps.sweeps * machine.dim)
    inputs = sweeps.kept(np.asarray(rows)) if rows else None
    return CornerRun(potential, n_beta, sweeps.kept(np.asarray(record)), np.exp(_plain(u)), rate, inputs)


@dataclass(frozen=True)
class _Numbers:
    """Random numbers of one stream, as numpy arrays where ``plain``, else as tensors on its device."""

    generator: torch.Generator
    plain: bool

    def normal(self, shape: tuple[int, ...]) -> Values:
        return self._given(torch.randn, shape)

    def uniform(self, shape: tuple[int, ...]) -> Values:
        return self._given(torch.rand, shape)

    def _given(self, law: Callable[..., Tensor], shape: tuple[int, ...]) -> Values:
        drawn = law(shape, generator=self.generator, device=self.generator.device, dtype=torch.float64)
        return drawn.numpy() if self.plain else drawn


def _plain(values: Values) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _groups(machine: Machine) -> dict[int, list[int]]:
    """Coordinate to all coordinates of its simplex."""
    return {v: numbers for numbers in machine.simplices.values() for v in numbers}


def mala(potential: Potential, n_beta: float, sweeps: Sweeps, *, step_size: float, seed: int) -> CornerRun:
    """The package's Metropolis-adjusted Langevin in log eps; starts at eps = 1/n_beta.

    Args:
        potential: The loss phi.
        n_beta: Inverse temperature.
        sweeps: Chains and steps.
        step_size: Step of MALA in u; 0.5 is right for few coordinates, 0.2 for thirty.
        seed: Names the random streams.
    """
    machine = potential.machine
    slope = log_slope(potential, n_beta)
    position = torch.full((sweeps.chains, machine.dim), -float(np.log(n_beta)), dtype=torch.float64)
    names = ("programs", "mala", machine.name, potential.form, potential.semantics, n_beta)
    noise = GroupNoise(seed, names, range(sweeps.chains), independent(), position[0])
    sampler = MALA(step_size=step_size)
    state, record, accepted = sampler.init(position, noise), [], 0.0
    for _ in range(sweeps.sweeps):
        state, info = sampler.step(state, slope, noise)
        assert state.slope is not None
        assert info.accepted is not None
        record.append((state.slope.value + state.position.sum(1)).numpy())
        accepted += float(info.accepted.mean())
    energy = sweeps.kept(np.asarray(record))
    return CornerRun(potential, n_beta, energy, state.position.exp().T.numpy(), accepted / sweeps.sweeps)


def log_slope(potential: Potential, n_beta: float) -> Callable[[Tensor], Slope]:
    """Potential and gradient in u ``[chains, d]``, infinite outside the box."""
    simplices = list(potential.machine.simplices.values())

    def slope(u: Tensor) -> Slope:
        leaf = u.detach().clamp(max=0.0).requires_grad_(True)
        energy = n_beta * potential(leaf.exp().T) - leaf.sum(1)
        gradient = torch.autograd.grad(energy.sum(), leaf)[0]
        eps = u.exp()
        outside = torch.stack([eps[:, group].sum(1) >= BOX for group in simplices]).any(0)
        value = energy.detach().masked_fill(outside, torch.inf)
        return Slope(value, gradient, torch.zeros_like(gradient), n_beta, 0.0)

    return slope


def corrected(value: float, multiplicity: int, n_beta: float) -> float:
    """``lambda - (m - 1)/log n_beta``: what n_beta E[phi] tends to when Z ~ n^-lambda (log n)^(m-1).

    Args:
        value: lambda of the sampled potential.
        multiplicity: m.
        n_beta: Inverse temperature.
    """
    return value - (multiplicity - 1) / float(np.log(n_beta))
