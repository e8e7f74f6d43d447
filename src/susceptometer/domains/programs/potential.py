"""Losses of a noisy machine as differentiable functions of its errors: f_x, f, H, K_0 and K_eta.

    f_x = 1 - p(correct output on x)      f = E_x f_x      H = E_x f_x²      K_0 = -E_x log(1 - f_x)
    K_eta = E_x KL(q || p) with both output laws mixed with a share eta of the uniform one

f² <= H <= f²/min q(x), so lambda_H = lambda_f / 2. K_0 is comparable with f, K_eta with H. All are sums of positive
terms, so f keeps its relative precision down to 1e-300. ``eps`` may be numpy or torch (then autograd gives
all derivatives).
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from susceptometer.domains.programs.exact import ExactRun
from susceptometer.domains.programs.ideal import Semantics
from susceptometer.domains.programs.laws import Description, numeric, plus
from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.naive import naive_run
from susceptometer.domains.programs.problem import Problem

Form = Literal["f", "H", "K0", "Keta"]

Values = Any
"""A numpy array or a torch tensor, float64."""


def error_probabilities(machine: Machine, problem: Problem, eps: Values, semantics: Semantics = "exact") -> Values:
    """f_x ``[inputs, *chains]`` at ``eps`` [d, *chains]."""
    description = numeric(machine, eps)
    if semantics == "exact":
        return _stack(_exact_rows(description, problem), eps)
    rows: list[Values] = [None] * len(problem.words)
    for numbers, words, steps in _by_length(problem):
        law = naive_run(description, words, steps, staged=semantics == "staged")
        for place, row in enumerate(numbers):
            wrong = [law[q] for q in sorted(problem.wrong_states(machine, row)) if q in law]
            rows[row] = plus(*[_row(weight, place, len(words), eps) for weight in wrong])
    return _stack(rows, eps)


def _exact_rows(description: Description, problem: Problem) -> list[Values]:
    runs: dict[frozenset[str], ExactRun] = {}
    rows = []
    for row, word in enumerate(problem.words):
        wrong = problem.wrong_states(description.machine, row)
        run = runs.setdefault(wrong, ExactRun(description, wrong))
        rows.append(run.weight(word, problem.steps[row]))
    return rows


def _by_length(problem: Problem) -> list[tuple[list[int], list[str], int]]:
    """Row numbers and words with a common number of steps."""
    groups: dict[int, list[int]] = {}
    for row, steps in enumerate(problem.steps):
        groups.setdefault(steps, []).append(row)
    return [(rows, [problem.words[r] for r in rows], steps) for steps, rows in groups.items()]


def _row(weight: Values, place: int, count: int, eps: Values) -> Values:
    """Row of one word: weights that are the same for all words carry no axis for them."""
    shared = weight.ndim < eps.ndim or (weight.ndim == eps.ndim and weight.shape[0] != count)
    return weight if shared else weight[place]


def _stack(rows: list[Values], eps: Values) -> Values:
    full = [eps[0] * 0 if row is None else row + eps[0] * 0 for row in rows]
    return torch.stack(full) if isinstance(eps, Tensor) else np.stack(full)


def output_law(machine: Machine, problem: Problem, eps: Values, semantics: Semantics = "exact") -> Values:
    """Law of the final state ``[states, inputs, *chains]``; sums to 1 over states."""
    description = numeric(machine, eps)
    each = []
    for state in machine.states:
        rows: list[Values] = [None] * len(problem.words)
        run = ExactRun(description, {state})
        for row, word in enumerate(problem.words):
            if semantics == "exact":
                rows[row] = run.weight(word, problem.steps[row])
            else:
                law = naive_run(description, [word], problem.steps[row], staged=semantics == "staged")
                weight = law.get(state)
                rows[row] = None if weight is None else _row(weight, 0, 1, eps)
        each.append(_stack(rows, eps))
    return torch.stack(each) if isinstance(eps, Tensor) else np.stack(each)


def reduced(wrong: Values, form: Form = "f") -> Values:
    """The loss ``[*chains]`` from f_x ``[inputs, *chains]``: "f", "H" or "K0"."""
    if form == "f":
        return wrong.mean(0)
    if form == "H":
        return (wrong * wrong).mean(0)
    log1p = torch.log1p if isinstance(wrong, Tensor) else np.log1p
    return -log1p(-wrong).mean(0)


def smoothed_entropy(law: Values, correct: list[list[int]], eta: float) -> Values:
    """K_eta ``[*chains]`` from the law of the final state ``[states, inputs, *chains]``.

    Args:
        law: Output law; each input must have exactly one correct state.
        correct: Numbers of the correct states of each input.
        eta: Share of the uniform law mixed into p and q.
    """
    size = len(law)
    log1p = torch.log1p if isinstance(law, Tensor) else np.log1p
    total = 0.0
    for row, (right,) in enumerate(correct):
        wrong = [law[q, row] for q in range(size) if q != right]
        high, low = 1 - eta + eta / size, eta / size
        shrink = (1 - eta) * plus(*wrong) / high
        grow = [(1 - eta) * weight / low for weight in wrong]
        total = total - high * (log1p(-shrink) + shrink)  # the linear terms of the two lines cancel
        total = total - sum(low * (log1p(g) - g) for g in grow)
    return total / len(correct)


class Potential:
    """One loss of one machine, ready to be evaluated on many chains.

    Args:
        machine: Noiseless machine.
        problem: Inputs, answers, steps.
        form: "f", "H", "K0" or "Keta".
        semantics: "exact", "unstaged" or "staged".
        eta: For "Keta".

    Raises:
        SubjectError: The machine does not solve the problem.
    """

    def __init__(
        self,
        machine: Machine,
        problem: Problem,
        form: Form = "f",
        semantics: Semantics = "exact",
        eta: float = 0.1,
    ) -> None:
        problem.check(machine)
        self.machine, self.problem, self.form = machine, problem, form
        self.semantics, self.eta = semantics, eta

    def __call__(self, eps: Values) -> Values:
        """Loss ``[*chains]`` at ``eps`` [d, *chains]."""
        if self.form != "Keta":
            return reduced(self.by_input(eps), self.form)
        states = self.machine.states
        correct = [
            [n for n, q in enumerate(states) if q not in self.problem.wrong_states(self.machine, row)]
            for row in range(len(self.problem.words))
        ]
        law = output_law(self.machine, self.problem, eps, self.semantics)
        return smoothed_entropy(law, correct, self.eta)

    def by_input(self, eps: Values) -> Values:
        """f_x ``[inputs, *chains]`` at ``eps`` [d, *chains]."""
        return error_probabilities(self.machine, self.problem, eps, self.semantics)


def gradients_at_corner(machine: Machine, problem: Problem, semantics: Semantics = "exact") -> np.ndarray:
    """d f_x / d eps at eps = 0 ``[inputs, d]`` by autograd in float64: the first-order counts of these semantics."""
    center = torch.zeros(machine.dim, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda eps: error_probabilities(machine, problem, eps, semantics), center
    )
    return jacobian.numpy()


def hessian_at_corner(machine: Machine, problem: Problem, semantics: Semantics = "exact") -> np.ndarray:
    """Hess H at eps = 0 ``[d, d]`` by twice autograd in float64; equal to the Gram matrix of the counts."""
    center = torch.zeros(machine.dim, dtype=torch.float64)
    potential = Potential(machine, problem, "H", semantics)
    return torch.autograd.functional.hessian(potential, center).numpy()
