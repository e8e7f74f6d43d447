"""Figures for papers and notebooks: learning coefficients, the chi heat map, loss traces.

Every function returns a `matplotlib.figure.Figure` that no global state knows of: save it with ``savefig``.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from susceptometer.errors import DataError

Array = NDArray[np.floating]

EXPRESSION, SUPPRESSION, INK, SOFT = "#2f7fc1", "#d9762b", "#1b2230", "#5b6474"
DIVERGING = LinearSegmentedColormap.from_list("psi", [EXPRESSION, "#ffffff", SUPPRESSION])
"""Blue for expression, orange for suppression: told apart by colour-blind readers and in grey."""


def llc_bars(names: Sequence[str], llc: Array, error: Array) -> Figure:
    """Learning coefficients ``[components]`` as bars with one standard error."""
    figure, axes = _figure(max(4.0, 0.42 * len(names) + 1.0), 3.2)
    place = np.arange(len(names))
    axes.bar(place, llc, yerr=error, color="#5c7cfa", width=0.62, capsize=3, ecolor=INK)
    axes.set_xticks(place, names, rotation=45, ha="right")
    axes.axhline(0.0, color=SOFT, linewidth=0.8)
    axes.set_ylabel("learning coefficient λ̂")
    return figure


def chi_map(names: Sequence[str], patterns: Sequence[str], psi: Array, error: Array) -> Figure:
    """Mean psi ``[components, patterns]`` as a heat map; dots mark values beyond two errors.

    Rows are scaled to their own largest value, since components differ by orders of magnitude.

    Raises:
        DataError: ``psi`` has another shape than names by patterns.
    """
    if np.shape(psi) != (len(names), len(patterns)):
        raise DataError(
            "the map and its labels differ in shape",
            where="chi_map",
            value=f"{np.shape(psi)} for {len(names)} names and {len(patterns)} patterns",
            why="a row is a component and a column is a pattern",
            do="pass psi as [components, patterns]",
        )
    figure, axes = _figure(1.8 + 0.62 * len(patterns), 1.2 + 0.28 * len(names))
    largest = np.nanmax(np.abs(psi), axis=1, keepdims=True)
    shown = psi / np.where(largest > 0, largest, 1.0)
    image = axes.imshow(shown, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
    rows, columns = np.nonzero(np.abs(psi) >= 2 * error)
    axes.scatter(columns, rows, s=7, color=INK)
    axes.set_xticks(range(len(patterns)), patterns, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    figure.colorbar(image, ax=axes, label="ψ over the row's largest |ψ|")
    return figure


def loss_traces(names: Sequence[str], losses: Array) -> Figure:
    """Loss of every draw, nats ``[components, groups, draws]``: one small panel per component."""
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.5 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    for panel, name, trace in zip(panels, names, losses, strict=False):
        panel.plot(np.asarray(trace).T, linewidth=0.6, alpha=0.7)
        panel.set_title(name, fontsize=8, color=INK)
        _plain(panel)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    figure.supxlabel("draw", fontsize=9)
    figure.supylabel("loss above w*, nats", fontsize=9)
    return figure


def _figure(wide: float, high: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(wide, high), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=SOFT)
