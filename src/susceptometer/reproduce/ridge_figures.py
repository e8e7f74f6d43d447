"""Figures of the claims on transient ridge: losses over training, the joint plane, coefficients."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from susceptometer.develop.joint import joint_pca
from susceptometer.reproduce import ridge_runs as runs
from susceptometer.reproduce.setting import Setting

COLORS = ("#3b5bdb", "#d9762b", "#0ca5a0", "#1b2230", "#9c6ade", "#c2853a", "#5b6474")


def ridge_figures(setting: Setting) -> Mapping[str, Figure]:
    """Caption to figure, from kept cells."""
    return {
        "Loss out of distribution over training, mean and range over seeds. Dashed: dMMSE of the same diversity; "
        "dotted: ridge. A transient ridge falls towards the dotted line and rises again.": loss_figure(setting),
        "Joint trajectory PCA of all runs on sequences of the root task. Discs: the ideal predictors, projected only.":
            plane_figure(setting),
        "Learning coefficient of settled side branches on each run's own distribution, mean over seeds, one error.":
            llc_figure(setting),
    }  # fmt: skip


def loss_figure(setting: Setting) -> Figure:
    """OOD loss against step, one colour per diversity."""
    figure, axes = _axes()
    found, ideal = runs.training(setting), runs.ideal_losses(setting)["value"]
    for place, m in enumerate(runs.amount_of(setting).diversities):
        table = found["outside"][_numbers(setting, m)]
        color = COLORS[place % len(COLORS)]
        axes.plot(found["steps"] + 1, table.mean(0), color=color, label=_label(m))
        axes.fill_between(found["steps"] + 1, table.min(0), table.max(0), color=color, alpha=0.18, linewidth=0)
        axes.axhline(ideal[place, 0, 1], color=color, linewidth=0.9, linestyle="--")
    axes.axhline(ideal[0, 1, 1], color="#1b2230", linewidth=0.9, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="step + 1", ylabel="loss out of distribution (y²)")
    axes.legend(frameon=False)
    return figure


def plane_figure(setting: Setting) -> Figure:
    """Mean trajectory per diversity in the joint plane."""
    figure, axes = _axes()
    plane = joint_pca(runs.training(setting)["outputs"], 2)
    x, y = runs.root_probe(setting)
    for place, m in enumerate(runs.amount_of(setting).diversities):
        color = COLORS[place % len(COLORS)]
        curve = plane.curves[_numbers(setting, m)].mean(0)
        axes.plot(*curve.T, color=color, label=_label(m))
        axes.plot(*curve[-1], marker=">", color=color)
        first, second = plane.project(runs.best(m, x, y).numpy().ravel())
        axes.scatter([first], [second], color=color, s=70, edgecolor="white", zorder=3)
    share = [f"{100 * part:.0f} %" for part in plane.share]
    axes.set(xlabel=f"joint axis 1 ({share[0]})", ylabel=f"joint axis 2 ({share[1]})")
    axes.legend(frameon=False)
    return figure


def llc_figure(setting: Setting) -> Figure:
    """lambda_hat over training."""
    figure, axes = _axes()
    for place, m in enumerate(runs.amount_of(setting).diversities):
        found = [runs.coefficients(setting, number, runs.N_BETAS[-1]) for number in _numbers(setting, m)]
        values = np.array([one["value"] for one in found])
        spread = np.mean([one["error"] for one in found], axis=0) / np.sqrt(len(found))
        if len(found) > 1:
            spread = values.std(0, ddof=1) / np.sqrt(len(found))
        color = COLORS[place % len(COLORS)]
        steps = np.array(runs.amount_of(setting).read) + 1
        axes.errorbar(steps, values.mean(0), yerr=spread, fmt="o-", color=color, label=_label(m))
    axes.set(xscale="log", xlabel="step + 1", ylabel=f"learning coefficient λ̂ at nβ {runs.N_BETAS[-1]:g}")
    axes.legend(frameon=False)
    return figure


def _numbers(setting: Setting, m: int) -> list[int]:
    return [i for i, (diversity, _) in enumerate(runs.runs_of(setting)) if diversity == m]


def _label(m: int) -> str:
    return "new tasks" if m == runs.INFINITE else f"M = {m}"


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.2, 4.0))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
