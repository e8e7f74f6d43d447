"""Learning coefficients over training as a figure, and as a page."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from susceptometer.develop.coefficients import Development
from susceptometer.estimate.estimate import format_pm
from susceptometer.view.claims_page import claims_page, write_claims_page

SHOWN = 12
"""Components drawn, at most: those that change most."""


def courses_figure(found: Development) -> Figure:
    """lambda_hat against training step with one standard error, transitions as dotted lines."""
    figure = Figure(figsize=(7.4, 4.2))
    axes = figure.subplots()
    moved = sorted(found.llc, key=lambda name: -float(np.ptp(found.llc[name].value.values)))
    for number, name in enumerate(moved[:SHOWN]):
        one = found.llc[name]
        step = one.data["checkpoint"].values.astype(float) + 1
        color = f"C{number % 10}"
        axes.errorbar(step, one.value.values, yerr=one.error.values, fmt="o-", markersize=4, color=color, label=name)
        for transition in found.stages[name]:
            axes.axvline(transition.step + 1, color=color, linewidth=0.8, linestyle=":")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xscale="log", xlabel="training step + 1", ylabel="learning coefficient λ̂")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def courses_page(found: Development, path: Path) -> None:
    """Write the figure and the table of coefficients as one offline page."""
    rows = [
        (str(r.component), f"{r.step:,}", format_pm(r.value, r.error),
         "-" if np.isnan(r.change) else format_pm(r.change, r.change_error))
        for r in found.table().itertuples()
    ]  # fmt: skip
    caption = f"The {min(SHOWN, len(found.llc))} components that change most."
    text = claims_page(
        "Development", "Learning coefficients over training; errors from independent groups of chains.",
        table=(("component", "step", "coefficient", "change from the step before"), rows), facts={},
        figures={caption: courses_figure(found)},
    )  # fmt: skip
    write_claims_page(path, text)
