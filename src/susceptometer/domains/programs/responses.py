r"""What every square of a machine's description answers to: susceptibilities to the inputs, exact and sampled.

A component C is one square ``symbol,state:kind``; only its errors move in a restricted run. With f the mean loss over
inputs and f_x that of input x (baker2025; snikkers2026; conventions 6.2 and 6.3, times n²)

    within-run   n² chi_w = -n² Cov_C[f, f_x - f]                               -> -(l^C_x - lambda_C)
    two-run      n² chi_2 = n² chi_w - n E_C[f] n (E_C - E_F)[f_x - f]          -> n² chi_w - lambda_C (r^C_x - r^F_x)

with l_x = lim n E[f_x], r_x = l_x - lambda of the square's run C and of the full run F (`leading`, derived). A square
that an input never reads, or whose errors are all corrected there, has l^C_x = 0: chi = +lambda_C/n², the same for all
such inputs.
"""

from dataclasses import dataclass

import numpy as np

from susceptometer.domains.programs.corner import CornerRun, Sweeps, metropolis
from susceptometer.domains.programs.leading import InputResponse, input_response, square_of
from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.potential import Potential
from susceptometer.domains.programs.problem import Problem
from susceptometer.errors import DataError
from susceptometer.estimate.estimate import jackknife
from susceptometer.testbed.form import Array

GROUPS = 20
"""Groups of chains that are left out one by one for an error."""


@dataclass(frozen=True)
class SampledResponse:
    """l_x and n² chi_x of one run, ``[inputs]`` each, with standard errors over groups of chains."""

    share: Array
    share_error: Array
    chi: Array
    chi_error: Array


def sampled_response(run: CornerRun) -> SampledResponse:
    """l_x = n E[f_x] and n² chi_x = -n² Cov[f, f_x - f] of a run that kept its inputs; f is their mean.

    Raises:
        DataError: The run did not keep the losses of the inputs, or has fewer chains than `GROUPS`.
    """
    if run.inputs is None or run.inputs.shape[-1] < GROUPS:
        raise DataError(
            "no losses of inputs, or too few chains",
            where="sampled_response",
            value=None if run.inputs is None else run.inputs.shape,
            why="errors come from groups of chains",
            do=f"sample with Sweeps(chains, sweeps, inputs=True), {GROUPS} chains at least",
        )
    groups = np.array_split(np.arange(run.inputs.shape[-1]), GROUPS)
    sums = np.array([_moments(run.inputs[..., part]) for part in groups])
    whole = _chi(sums.sum(0))
    left = np.array([_chi(sums.sum(0) - one) for one in sums])
    value, error = jackknife(whole, left)
    return SampledResponse(value[0], error[0], value[1], error[1])


def _moments(losses: Array) -> Array:
    """Number of draws, sums of f_x and of f f_x ``[3, inputs]`` from ``[sweeps, inputs, chains]``."""
    mean = losses.mean(1, keepdims=True)
    size = losses.shape[0] * losses.shape[2]
    return np.stack([np.full(losses.shape[1], size), losses.sum((0, 2)), (mean * losses).sum((0, 2))])


def _chi(sums: Array) -> Array:
    """n E[f_x] and -n² Cov[f, f_x - f] ``[2, inputs]``."""
    share = sums[1] / sums[0]
    covariance = sums[2] / sums[0] - share.mean() * share
    return np.stack([share, -(covariance - covariance.mean())])


def sampled_input_response(
    machine: Machine, problem: Problem, n_beta: float, sweeps: Sweeps, *, seed: int
) -> SampledResponse:
    """`sampled_response` of the machine's corner posterior for f in exact semantics."""
    length = Sweeps(sweeps.chains, sweeps.sweeps, inputs=True)
    return sampled_response(metropolis(Potential(machine, problem), n_beta, length, seed=seed))


@dataclass(frozen=True)
class SquareResponses:
    """Exact susceptibilities of all squares that matter.

    Args:
        squares: ``symbol,state:kind`` of those squares whose errors can make an answer wrong.
        words: Inputs.
        value: lambda_C ``[squares]``.
        share: l^C_x ``[squares, inputs]``.
        undecided: Squares without a closed form here.
    """

    squares: tuple[str, ...]
    words: tuple[str, ...]
    value: Array
    share: Array
    undecided: tuple[str, ...]

    @property
    def within_run(self) -> Array:
        """Limit of n² chi_w ``[squares, inputs]``; below 0 the square works for the input."""
        return -(self.share - self.value[:, None])

    def two_run(self, full: InputResponse) -> Array:
        """Limit of n² chi_2 ``[squares, inputs]`` beside the full run."""
        return self.within_run + self.value[:, None] * (self.within_run - full.chi)


def square_responses(machine: Machine, problem: Problem) -> SquareResponses:
    """Exact responses of all squares to all inputs.

    Raises:
        SubjectError: The machine does not solve the problem.
    """
    names, rows, undecided = [], [], []
    for name in machine.simplices:
        try:
            found = input_response(square_of(machine, name), problem)
        except DataError:
            undecided.append(name)
            continue
        if found.value:
            names.append(name)
            rows.append(found)
    value = np.array([float(row.value) for row in rows])
    share = np.array([row.share for row in rows]).reshape(len(rows), len(problem.words))
    return SquareResponses(tuple(names), problem.words, value, share, tuple(undecided))
