"""Figures of the claims on regret: opposing staircases and the policies on the levels."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from susceptometer.domains.gridworld import MOVES
from susceptometer.reproduce import regret_runs as runs
from susceptometer.reproduce.setting import Setting

REGRET, COEFFICIENT = "#d9762b", "#3b5bdb"


def regret_figures(setting: Setting) -> Mapping[str, Figure]:
    """Caption to figure, from kept cells."""
    mix = next((m for m in (0.1, 0.2) if m in runs.mixes(setting)), runs.mixes(setting)[0])
    return {
        f"Opposing staircases, level mix {mix:g}: exact regret (left, orange) falls in steps while its learning "
        "coefficient (right, blue; one standard error) rises. Hollow: negative beyond two errors, no minimum.":
            staircase_figure(setting, mix),
        f"Policies of seed {shown_seed(setting, mix)}, level mix {mix:g}. Arrows are action probabilities; "
        "the disc is the cheese. Early checkpoints run to the corner wherever the cheese is.":
            policy_figure(setting, mix),
    }  # fmt: skip


def staircase_figure(setting: Setting, mix: float) -> Figure:
    """Regret and coefficient against step, one panel per seed."""
    seeds = min(3, runs.AMOUNTS[setting.scale].seeds)
    figure = Figure(figsize=(4.1 * seeds, 3.5))
    for number, axes in enumerate(np.atleast_1d(figure.subplots(1, seeds))):
        _staircase(axes, setting, mix, number)
    figure.tight_layout()
    return figure


def _staircase(axes: Axes, setting: Setting, mix: float, seed: int) -> None:
    regret = runs.regret_course(setting, mix, seed)
    axes.plot(regret.steps + 1, regret.values, color=REGRET)
    axes.set(xscale="log", yscale="log", xlabel="step + 1", title=f"seed {seed}")
    axes.set_ylabel("regret G (return)", color=REGRET)
    course = runs.llc_course(setting, mix, seed)
    other = axes.twinx()
    low = course.values < -2 * course.errors
    shown = course.values > -8
    for part, face in ((shown & ~low, COEFFICIENT), (shown & low, "white")):
        other.errorbar(
            course.steps[part] + 1, course.values[part], yerr=course.errors[part], fmt="o", color=COEFFICIENT,
            markerfacecolor=face, markersize=5,
        )  # fmt: skip
    other.set_ylabel("learning coefficient λ̂", color=COEFFICIENT)


def shown_seed(setting: Setting, mix: float) -> int:
    """The training that ends with the least regret on uniform levels: it seeks the cheese, if any does."""
    return int(runs.training(setting, mix)["anywhere"][:, -1].argmin())


def policy_figure(setting: Setting, mix: float) -> Figure:
    """Arrows of the policy for a cheese in the corner and one in the middle, at three checkpoints."""
    read = runs.AMOUNTS[setting.scale].read
    steps = sorted({100, 3000, 12_000} & set(read) or set(read[-2:]))
    wide = runs.NET.world.width
    figure = Figure(figsize=(2.6 * len(steps), 5.4))
    panels = figure.subplots(2, len(steps), squeeze=False)
    for row, cheese in enumerate((0, wide * (wide // 2) + wide // 2)):
        for column, step in enumerate(steps):
            _board(panels[row, column], runs.weights(setting, mix, shown_seed(setting, mix), step), cheese)
            panels[row, column].set_title(f"step {step}", fontsize=9)
    figure.tight_layout()
    return figure


def _board(axes: Axes, params: runs.Params, cheese: int) -> None:
    wide = runs.NET.world.width
    with torch.no_grad():
        policy = runs.NET.policy(params)[cheese].numpy()
    cells = np.arange(wide**2)
    row, column = cells // wide, cells % wide
    for action, (down, right) in enumerate(MOVES):
        size = 0.8 * policy[:, action]
        size[cheese] = 0
        arrows = (column, row, right * size, down * size)
        axes.quiver(*arrows, angles="xy", scale_units="xy", scale=1, width=0.01, headwidth=4, color="#1b2230")
    axes.scatter([cheese % wide], [cheese // wide], s=150, color="#e0b02e", zorder=3)
    axes.set(xlim=(-0.6, wide - 0.4), ylim=(wide - 0.4, -0.6), xticks=[], yticks=[], aspect="equal")
