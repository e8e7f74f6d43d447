"""A noisy machine as a subject of the toolkit: weights eps at 0, one loss per input, one component per square.

The corner eps >= 0 is unfolded by eps = |w|: a chain of w in the even potential, pushed to |w|, is a chain of eps
reflected at 0, so the ordinary samplers serve. Without the unfolding they would sample the full neighbourhood, whose
learning coefficient is another number.
"""

import torch
from torch import Tensor

from susceptometer.domains.programs.ideal import Semantics
from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.potential import Form, error_probabilities
from susceptometer.domains.programs.problem import Problem
from susceptometer.posterior.component import Component, mask_piece
from susceptometer.posterior.component_set import ComponentSet
from susceptometer.posterior.subject import Subject
from susceptometer.types import Batch, Params


def subject(
    machine: Machine, problem: Problem, form: Form = "f", semantics: Semantics = "exact", *, folded: bool = True
) -> Subject:
    """The subject of a machine on a problem.

    Args:
        machine: Noiseless machine.
        problem: Its inputs are data and base probe.
        form: "f", "H" or "K0", per input: f_x, f_x² or -log(1 - f_x).
        semantics: "exact", "unstaged" or "staged".
        folded: Whether eps = |w| (the corner) or eps = w (the full neighbourhood).

    Raises:
        SubjectError: The machine does not solve the problem.
    """
    problem.check(machine)

    def loss(params: Params, batch: Batch) -> Tensor:
        eps = params["eps"].abs() if folded else params["eps"]
        wrong = error_probabilities(machine, problem, eps, semantics)[batch["input"]]
        if form == "K0":
            return -torch.log1p(-wrong)
        return wrong if form == "f" else wrong * wrong

    rows = {"input": torch.arange(len(problem.words))}
    params = {"eps": torch.zeros(machine.dim, dtype=torch.float64)}
    parts = [_component(name, numbers, machine.dim) for name, numbers in machine.simplices.items()]
    whole = _component("all", list(range(machine.dim)), machine.dim)
    components = ComponentSet([whole, *parts], {"eps": (machine.dim,)})
    return Subject(machine.name, params, loss, rows, {"base": rows}, components)


def _component(name: str, numbers: list[int], dim: int) -> Component:
    mask = torch.zeros(dim, dtype=torch.bool)
    mask[numbers] = True
    return Component(name, (mask_piece("eps", mask),))
