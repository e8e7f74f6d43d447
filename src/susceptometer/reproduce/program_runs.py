"""What the claims of ``programs`` measure: the machines, how long they are sampled, and every kept cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from susceptometer.domains.programs import library
from susceptometer.domains.programs.corner import Region, Sweeps, corrected, metropolis
from susceptometer.domains.programs.free_energy import partition
from susceptometer.domains.programs.ideal import Semantics, exact_coefficient
from susceptometer.domains.programs.machine import Machine
from susceptometer.domains.programs.potential import Form, Potential
from susceptometer.domains.programs.problem import Problem
from susceptometer.domains.programs.subject import subject
from susceptometer.estimate.llc import llc
from susceptometer.reproduce.setting import Arrays, Scale, Setting
from susceptometer.sampling.base import Sampler
from susceptometer.sampling.coupling import independent
from susceptometer.sampling.mala import MALA
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD


@dataclass(frozen=True)
class Case:
    """One machine of E1: what it computes, how its exact value is found and how it is sampled.

    Args:
        function: Name of the function on these inputs and steps; machines of one function are compared.
        machine: Noiseless machine.
        problem: Inputs, answers, steps.
        degree: Where error types are cut.
        n_beta: Inverse temperature of the sampling.
        semantics: "exact", "unstaged" or "staged".
        tolerance: Allowance for the next powers of n at this temperature, beside 3 standard errors.
        form: "f" or "H".
        effort: Factor on the number of sweeps.
    """

    function: str
    machine: Machine
    problem: Problem
    degree: int
    n_beta: float
    semantics: Semantics = "exact"
    tolerance: float = 0.0
    form: Form = "f"
    effort: float = 1.0

    @property
    def name(self) -> str:
        """Unique name of the cell."""
        place = f"{self.function} {self.machine.name} {self.form} {self.semantics}"
        return "".join(c if c.isalnum() else "-" for c in place)


def pair(form: Form) -> list[Case]:
    """M1 and M2."""
    n_beta = 1e7 if form == "f" else 1e14
    question = library.reaches("a", 2)
    title = "M1 and M2" if form == "f" else "M1 and M2, H"
    return [Case(title, m, question, 2, n_beta, form=form) for m in (library.m1(), library.m2())]


def clockworks(codes: Sequence[str]) -> list[Case]:
    """State-only machines with three states that reach state 2 after five steps."""
    question = library.reaches("2", 5)
    return [Case("state 2 after 5 steps", library.clockwork(c), question, 5, 1e8, tolerance=0.05) for c in codes]


def or_machines() -> list[Case]:
    """One automaton of each value for "contains 1", three states with an output map."""
    question = library.word_function(library.WORD_FUNCTIONS["or"], 2)
    tables = {"01 11 00": "011 010", "12 10 00": "101", "12 02 22": "001"}
    machines = [
        library.automaton(f"{table} {labels}", table.split(), labels)
        for table, maps in tables.items() for labels in maps.split()
    ]  # fmt: skip
    return [Case("contains 1 (automata)", m, question, 3, 1e6) for m in machines]


def detect_a_machines() -> list[Case]:
    """detectA in 30 dimensions: a staged pair and an exact pair with different coefficients."""
    longer, shorter = library.contains_a(3, 4), library.contains_a(2, 3)
    staged = [
        Case("contains A (3,4), staged", library.detect_a(v), longer, 3, 1e6, "staged", 0.02, effort=1.6)
        for v in (0, 1)
    ]  # fmt: skip
    twins = [Case("contains A (2,3), exact", library.detect_a_twin(k), shorter, 3, 1e6, "exact", 0.05) for k in (1, 2)]
    return [*staged, *twins]


def cases(scale: Scale) -> list[Case]:
    """The machines of E1 at a scale."""
    few = [*pair("f"), *pair("H"), *clockworks(["202", "221", "120"])]
    if scale == "smoke":
        return few
    reader = [
        Case(f"re-reader, t = {t}", library.re_reader(), library.reaches("a", t), t, 1e8, tolerance=0.003)
        for t in (2, 3, 4)
    ]  # fmt: skip
    small = Case("contains A (2,2), staged", library.detect_a(), library.contains_a(2, 2), 3, 1e4, "staged", 0.02)
    others = clockworks(["202", "222", "122", "212", "200", "210", "220", "221", "120"])
    return [*pair("f"), *pair("H"), *reader, *others, *or_machines(), small, *detect_a_machines()]


LENGTH = {"smoke": Sweeps(200, 300), "cpu": Sweeps(200, 300), "gpu": Sweeps(8000, 300)}
"""Chains and sweeps of one case."""


def sampled(setting: Setting, case: Case) -> Arrays:
    """Exact (value, m, corrected) and sampled (value, error, drift, its error) coefficient of one case."""

    def make() -> Arrays:
        exact = exact_coefficient(case.machine, case.problem, case.degree, case.semantics)
        value = exact.lambda_f if case.form == "f" else exact.lambda_H
        length = LENGTH[setting.scale]
        length = replace(length, sweeps=int(length.sweeps * case.effort))
        device = "cuda" if setting.scale == "gpu" and torch.cuda.is_available() else None
        potential = Potential(case.machine, case.problem, case.form, case.semantics)
        reading = metropolis(potential, case.n_beta, length, device=device, seed=setting.seed)
        found = reading.llc.data
        return {
            "exact": np.asarray([value, exact.multiplicity, corrected(value, exact.multiplicity, case.n_beta)]),
            "sampled": np.asarray([float(found[k]) for k in ("value", "error", "drift", "drift_error")]),
        }

    return setting.kept(f"sampled/{case.name}", make)


def renamed(setting: Setting) -> Arrays:
    """The null of E1: M1 under other names, an independent run."""
    case = pair("f")[0]
    machine = library.clockwork("212", names="xyz", name="M1 renamed")
    return sampled(setting, replace(case, machine=machine, problem=library.reaches("z", 2)))


def entropy(setting: Setting, form: Form) -> Arrays:
    """K_0 or K_0.1 of M2: sampled value and error."""
    case = pair("f")[1]

    def make() -> Arrays:
        potential = Potential(case.machine, case.problem, form)
        found = metropolis(potential, case.n_beta, LENGTH[_cpu(setting)], seed=setting.seed).llc.data
        return {"sampled": np.asarray([float(found["value"]), float(found["error"])])}

    return setting.kept(f"entropy-{form}", make)


def _cpu(setting: Setting) -> Scale:
    """The scale of what always runs on one core."""
    return "smoke" if setting.scale == "smoke" else "cpu"


LOW, DECADES = 1e-2, 6
"""Grid of n of E2: from LOW up."""


def preference(setting: Setting) -> Arrays:
    r"""E2: Z1/Z2 at rising n by thermodynamic integration of sampled E_n[f], and by quadrature.

    log Z(n) = log Z(0) - integral_0^n E[f] dn,   trapezoidal in log n; n E[f] is the integrand there
    """

    def make() -> Arrays:
        per_decade = 2 if setting.scale == "smoke" else 4
        n_beta = LOW * 10.0 ** (np.arange(DECADES * per_decade + 1) / per_decade)
        found = [[_energy(setting, case, float(n)) for case in pair("f")] for n in n_beta]
        gaps = np.asarray([second[0] - first[0] for first, second in found])
        errors = np.asarray([np.hypot(first[1], second[1]) for first, second in found])
        width = np.log(10) / per_decade
        weights = width * (np.tril(np.ones((len(gaps), len(gaps)))) - np.eye(len(gaps)) / 2)
        weights[:, 0] = 1 + width / 2  # below LOW the mean of f is constant
        weights[0, 0] = 1
        ratio = np.exp(weights @ gaps)
        error = ratio * np.sqrt(weights**2 @ errors**2)
        exact = np.asarray([partition("M1", n) / partition("M2", n) for n in n_beta])
        return {"n_beta": n_beta, "sampled": ratio, "error": error, "exact": exact}

    return setting.kept("preference", make)


def _energy(setting: Setting, case: Case, n_beta: float) -> tuple[float, float]:
    """n E[f] and its error: the integrand in log n."""
    length = Sweeps(120, 90) if setting.scale == "smoke" else Sweeps(800, 150)
    found = metropolis(Potential(case.machine, case.problem), n_beta, length, seed=setting.seed).llc
    return float(found.value), float(found.error)


def order_degree(setting: Setting) -> int:
    """Where the types of E4 are cut; 4 is where values have become stable."""
    return 3 if setting.scale == "smoke" else 4


def orders(setting: Setting) -> Arrays:
    """E4: lambda_f and m of detectA (2,4), staged, over random tuple orders."""

    def make() -> Arrays:
        draw = np.random.default_rng(setting.seed)
        count = {"smoke": 1, "cpu": 8, "gpu": 30}[setting.scale]
        question, machine = library.contains_a(2, 4), library.detect_a()
        listed = [tuple(range(6)), *(tuple(draw.permutation(6).tolist()) for _ in range(count))]
        degree = order_degree(setting)
        found = [exact_coefficient(machine.reordered(o), question, degree, "staged") for o in listed]
        rows = [(e.lambda_f, e.multiplicity) for e in found]
        return {"orders": np.asarray(listed), "values": np.asarray(rows)}

    return setting.kept("orders", make)


def toolkit(setting: Setting, name: str, n_beta: float) -> Arrays:
    """E5: the toolkit's own estimator on eps = |w| with a Gaussian pull, and the same law sampled in log eps."""
    machine = library.m1() if name == "M1" else library.m2()
    question = library.reaches("a", 2)

    def make() -> Arrays:
        length = LENGTH[_cpu(setting)]
        region = Region(box=10.0, gamma=100.0)
        truth = metropolis(Potential(machine, question), n_beta, length, region=region, seed=setting.seed).llc
        rows = [[float(truth.value), float(truth.error)]]
        groups, draws = (16, 24) if setting.scale == "smoke" else (32, 150)
        samplers: list[Sampler] = [MALA(step_size=2.0 / n_beta**2), SGLD(step_size=1e-1 / n_beta**2)]
        samplers.append(SGLD(step_size=1.0 / n_beta**2))
        for sampler in samplers:
            schedule = Schedule(groups=groups, burn_in=5 * draws, draws=draws, thin=5)
            recipe = Recipe(sampler=sampler, schedule=schedule, n_beta=n_beta, gamma=100.0, coupling=independent())
            whole = subject(machine, question)
            found = llc(read_here(whole, {"all": whole.components["all"]}, recipe, seed=setting.seed))
            found = found.sel(component="all")
            rows.append([float(found.value), float(found.error)])
        return {"rows": np.asarray(rows)}

    return setting.kept(f"toolkit/{name}-{n_beta:g}", make)
