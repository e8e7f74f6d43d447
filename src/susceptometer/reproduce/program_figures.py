"""Pictures of the claims of ``programs``, drawn from kept cells."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from susceptometer.domains.programs import library, pictures
from susceptometer.domains.programs.free_energy import ASYMPTOTE
from susceptometer.reproduce import program_runs as runs
from susceptometer.reproduce.program_responses import response_figures
from susceptometer.reproduce.setting import Setting


def program_figures(setting: Setting) -> Mapping[str, Figure]:
    """Caption to figure."""
    question = library.contains_a(2, 3)
    return {
        "Exact and sampled learning coefficients of f; points of one function are joined. Error bars are three "
        "standard errors.": _scatter(setting),
        "M1 and M2: the same function, the same space of errors, the same number of steps. M1 goes straight to a "
        "(accept), M2 by way of s. Exact coefficients 7/2 and 4.": _pair(),
        "The posterior's preference for M1 over M2, both with loss zero.": _preference(setting),
        "detectA: does the string contain A? Arrows read symbol / written symbol, move.": pictures.machine_diagram(
            library.detect_a()
        ),
        "detectA, strings of length up to 2, 3 steps: every uncorrected single error and one run in which it fires. "
        "Rows are time, the frame is the head.": pictures.syndrome_panels(library.detect_a(), question),
        "The same with 2 steps: A read as r in state r is not corrected, since there is no time to read A again. Left: "
        "counts per input; right: the Hessian of H, blocks by control flow.": pictures.hessian_map(
            library.detect_a(), library.contains_a(2, 2)
        ),
        "parityCheck: as many A as B? 240 errors.": pictures.machine_diagram(library.parity_check()),
        **response_figures(setting),
    }


def _pair() -> Figure:
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    for machine, axes in zip((library.m1(), library.m2()), figure.subplots(1, 2), strict=True):
        pictures.machine_diagram(machine, axes)
    return figure


def _scatter(setting: Setting) -> Figure:
    rows = []
    for case in runs.cases(setting.scale):
        if case.form == "f":
            cell = runs.sampled(setting, case)
            value, error = cell["sampled"][:2]
            rows.append((case.function, case.machine.name, float(cell["exact"][2]), float(value), float(error)))
    return pictures.exact_against_sampled(rows)


def _preference(setting: Setting) -> Figure:
    found = runs.preference(setting)
    constant, power = ASYMPTOTE["f"]
    return pictures.preference_curve(
        found["n_beta"], found["exact"], constant * found["n_beta"] ** power, found["sampled"], found["error"]
    )
