"""The picture of the superposition demonstration: which polygons form under which data, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from susceptometer.reproduce.shares import Share

ACTED, REST, INK, SOFT = "#d9762b", "#2f7fc1", "#1b2230", "#9aa1ac"
SHOWN = 12


@dataclass(frozen=True)
class Panel:
    """One arm: its title and the columns of W of many runs ``[runs, 2, features]``."""

    title: str
    columns: NDArray[np.float64]


@dataclass(frozen=True)
class Dose:
    """Share of runs that drop feature 0, measured ``shares`` and ``predicted``, at shifts ``h0`` of its probability."""

    h0: NDArray[np.float64]
    shares: Sequence[Share]
    predicted: NDArray[np.float64]
    random: Sequence[tuple[float, Share]]


def drawn(panels: Sequence[Panel], dose: Dose, path: Path) -> None:
    """Write the figure as PNG: small polygons of the arms above, the dose-response curve below."""
    figure = Figure(figsize=(9.5, 6.4), layout=ConstrainedLayoutEngine(h_pad=0.1))
    upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=[1, 1.35]))
    axes = upper.subplots(1, len(panels))
    for ax, panel in zip(np.atleast_1d(axes), panels, strict=True):
        polygons(ax, panel)
    curve(lower.subplots(), dose)
    figure.savefig(path, dpi=110)


def polygons(axes: Axes, panel: Panel) -> None:
    """Columns of W of the first runs of one arm on a grid; feature 0 in orange, a dropped feature is a dot."""
    for run, W in enumerate(panel.columns[:SHOWN]):
        x, y = 3.4 * (run % 4), -3.4 * (run // 4)
        for i, (a, b) in enumerate(W.T):
            axes.plot([x, x + a], [y, y + b], color=ACTED if i == 0 else REST, linewidth=2.2 if i == 0 else 1.1)
        axes.plot([x], [y], ".", color=INK, markersize=3)
    axes.set(xlim=(-1.8, 12.0), ylim=(-8.6, 1.8), aspect="equal", xticks=[], yticks=[])
    axes.set_title(panel.title, fontsize=9)


def curve(axes: Axes, dose: Dose) -> None:
    """Share that drops feature 0 against the shift of its probability, beside the prediction and random shifts."""
    ends = np.array([one.interval() for one in dose.shares])
    values = np.array([one.value for one in dose.shares])
    axes.plot(dose.h0, dose.predicted, "-", color=SOFT, label="linear response of the log-odds, scale from one dose")
    spread = np.abs(ends.T - values)
    axes.errorbar(dose.h0, values, yerr=spread, fmt="o", color=ACTED, capsize=3, label="planned arms, 95 % Wilson")
    for place, (h0, one) in enumerate(dose.random):
        low, high = one.interval()
        label = "random directions of equal norm" if place == 0 else None
        axes.errorbar([h0], [one.value], yerr=[[one.value - low], [high - one.value]], fmt="x", color=INK, label=label)
    axes.set(xlabel="change of the probability of feature 0", ylabel="share of runs that drop feature 0", ylim=(0, 1))
    axes.legend(frameon=False, fontsize=9)
