"""Figures of a reading over training: width of the body, the fin, mean psi by head and pattern, maps of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from susceptometer.structure.patterns import PATTERNS
from susceptometer.view.figures import EXPRESSION, INK, SOFT, SUPPRESSION

Array = NDArray[np.floating]

SHOWN = ("word start", "word part", "word end", "induction", "right delimiter", "spacing", "numeric", "formatting")
COLOURS = ("#5c7cfa", "#12b886", "#2f9e44", "#e03131", "#7048e8", "#868e96", "#f08c00", "#0b7285", "#c2255c", "#adb5bd",
           "#ced4da", "#dee2e6", "#e9ecef")  # fmt: skip


@dataclass(frozen=True)
class PatternMeans:
    """Mean psi over patterns in units of each head's spread: ``value`` and ``error`` [heads, patterns]."""

    heads: list[str]
    patterns: list[str]
    value: Array
    error: Array


def width_figure(steps: Sequence[int], width: Array, band: Array, onset: float) -> Figure:
    """Width ``[checkpoints]`` with its 95 % band ``[checkpoints, 2]`` over steps; dashed: ``onset``."""
    figure, axes = _over_steps(steps)
    axes.fill_between(_place(steps), band[:, 0], band[:, 1], color=EXPRESSION, alpha=0.25, linewidth=0)
    axes.plot(_place(steps), width, "o-", color=EXPRESSION, markersize=4)
    _mark(axes, onset)
    axes.set_ylabel("width over length")
    return figure


def fin_figure(steps: Sequence[int], r2: Array, error: Array, null: Array) -> Figure:
    """Held-out R^2 of the run length with one standard error, and the null's 95 % quantile, over steps."""
    figure, axes = _over_steps(steps)
    axes.errorbar(_place(steps), r2, yerr=error, fmt="o-", color=SUPPRESSION, markersize=4, capsize=3, label="from χ")
    axes.plot(_place(steps), null, ":", color=SOFT, label="run lengths permuted, 95 %")
    axes.set_ylabel("held-out R² of log(1 + run)")
    axes.set_ylim(min(-0.1, float(np.nanmin(null)) - 0.05), 1)
    axes.legend(frameon=False, fontsize=8)
    return figure


def trajectories_figure(steps: Sequence[int], tables: Sequence[PatternMeans]) -> Figure:
    """Small multiples: a panel a head, a line a pattern, mean psi over steps with one standard error."""
    heads = tables[0].heads
    columns = min(4, len(heads))
    lines = -(-len(heads) // columns)
    figure = Figure(figsize=(2.7 * columns, 1.9 * lines + 0.6), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for k, name in enumerate(heads):
        for pattern in SHOWN:
            column = tables[0].patterns.index(pattern)
            value = [table.value[k, column] for table in tables]
            error = [table.error[k, column] for table in tables]
            colour = COLOURS[PATTERNS.index(pattern)]
            panels[k].errorbar(_place(steps), value, yerr=error, color=colour, linewidth=1, label=pattern)
        panels[k].set_title(name, fontsize=8, color=INK)
        panels[k].axhline(0, color=SOFT, linewidth=0.6)
        _ticks(panels[k], steps)
    for panel in panels[len(heads) :]:
        panel.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside lower center", frameon=False, fontsize=8)
    figure.supylabel("mean ψ in spreads of the head (below 0: expressed)", fontsize=9)
    return figure


def map_figure(steps: Sequence[int], maps: Array, classes: NDArray[np.integer]) -> Figure:
    """Maps ``[checkpoints, tokens, 2]`` of the same tokens, coloured by pattern."""
    columns = min(5, len(steps))
    lines = -(-len(steps) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.3 * lines + 0.6), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, step, points in zip(panels, steps, maps, strict=False):
        for k in np.unique(classes):
            chosen = classes == k
            panel.scatter(*points[chosen].T, s=2, color=COLOURS[k], linewidths=0, label=PATTERNS[k])
        panel.set_title(f"step {step:,}", fontsize=8, color=INK)
        panel.set_xticks([])
        panel.set_yticks([])
    for panel in panels[len(steps) :]:
        panel.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=5, loc="outside lower center", frameon=False, fontsize=8, markerscale=4)
    return figure


def _over_steps(steps: Sequence[int]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    _ticks(axes, steps)
    axes.set_xlabel("training step")
    return figure, axes


def _place(steps: Sequence[float]) -> Array:
    """Places on the axis: the square root of the step spreads early and late checkpoints evenly enough."""
    return np.sqrt(np.asarray(steps, dtype=float))


def _ticks(axes: Axes, steps: Sequence[int]) -> None:
    shown, last = [], -np.inf
    for step in steps:
        if _place([step])[0] - last > 0.12 * _place([max(steps)])[0]:
            shown.append(step)
            last = _place([step])[0]
    axes.set_xticks(_place(shown), [f"{step:,}" for step in shown], fontsize=7)
    axes.tick_params(labelsize=7, colors=SOFT)


def _mark(axes: Axes, onset: float) -> None:
    if np.isfinite(onset):
        axes.axvline(_place([onset])[0], color=INK, linestyle="--", linewidth=1)
