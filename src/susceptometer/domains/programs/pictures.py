"""Pictures of machines: state diagrams, runs in which an error fires, and the Hessian ordered by control flow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from susceptometer.domains.programs.machine import SHIFT, Machine, run
from susceptometer.domains.programs.problem import Problem
from susceptometer.domains.programs.syndromes import Firing, counts, hessian, single_errors
from susceptometer.view.figures import DIVERGING, EXPRESSION, INK, SOFT, SUPPRESSION

FILL = ("#f4f5f8", "#cfe3f6", "#fbdcc2", "#d9ead3", "#eadcf4", "#f9f0c4")
"""Colours of symbols, the blank first."""

ARROW: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "color": SOFT, "linewidth": 1.1}


def machine_diagram(machine: Machine, axes: Axes | None = None) -> Figure:
    """States as circles (double: start), tuples as arrows ``read / write, move``.

    Args:
        machine: Drawn whole; arrows between the same states share a label.
        axes: Where to draw instead; the figure returned is then empty.
    """
    size = (5.4, 2.2 if len(machine.states) == 2 else 5.0)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots() if axes is None else axes
    places = _places(len(machine.states))
    where = dict(zip(machine.states, places, strict=True))
    middle, radius = places.mean(0), max(0.24, 0.055 * max(map(len, machine.states)))
    for (source, target), text in _labels(machine).items():
        if source == target:
            _loop(axes, where[source], middle, radius, text)
        else:
            _arrow(axes, where[source], where[target], radius, text)
    for state, place in where.items():
        axes.add_patch(Circle(_spot(place), radius, facecolor="#ffffff", edgecolor=INK, zorder=3))
        if state == machine.start:
            axes.add_patch(Circle(_spot(place), radius * 0.9, fill=False, edgecolor=INK, zorder=4))
        axes.text(place[0], place[1], state, ha="center", va="center", fontsize=8, color=INK, zorder=5)
    axes.set_title(machine.name, fontsize=10, color=INK)
    above = 0.75 + 0.15 * (len(places) > 2) + 0.3 * (len(places) > 4)
    reach = np.abs(places - middle).max(0) + radius + np.asarray([0.75, above])
    axes.set_xlim(middle[0] - reach[0], middle[0] + reach[0])
    axes.set_ylim(middle[1] - reach[1], middle[1] + reach[1])
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def _places(count: int) -> np.ndarray:
    """Points of a regular polygon, two states side by side."""
    if count == 2:
        return np.asarray([[-0.9, 0.0], [0.9, 0.0]])
    angles = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    return (0.7 + 0.2 * count) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _spot(point: np.ndarray) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _labels(machine: Machine) -> dict[tuple[str, str], str]:
    """(state, next state) to its lines; one symbol only: no label but the arrow."""
    found: dict[tuple[str, str], list[str]] = {}
    for rule in machine.rules:
        said = f"{rule.symbol}/{rule.write},{rule.move}" if len(machine.symbols) > 1 else ""
        found.setdefault((rule.state, rule.after), []).append(said)
    return {pair: "\n".join(lines) for pair, lines in found.items()}


def _arrow(axes: Axes, start: np.ndarray, end: np.ndarray, radius: float, text: str) -> None:
    along = (end - start) / np.linalg.norm(end - start)
    across = np.asarray([along[1], -along[0]])
    first, last = _spot(start + radius * along), _spot(end - radius * along)
    axes.add_patch(FancyArrowPatch(first, last, connectionstyle="arc3,rad=0.18", **ARROW))
    spot = (start + end) / 2 + 0.09 * (np.linalg.norm(end - start) - 2 * radius) * across
    axes.text(
        spot[0], spot[1], text, fontsize=6.5, ha="center", va="center", color=INK, zorder=6,
        bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
    )  # fmt: skip


def _loop(axes: Axes, place: np.ndarray, middle: np.ndarray, radius: float, text: str) -> None:
    out = place - middle
    size = np.linalg.norm(out)
    out = out / size if size > 0 else np.asarray([0.0, 1.0])
    side = np.asarray([-out[1], out[0]])
    ends = [_spot(place + radius * (0.8 * out + s * 0.6 * side)) for s in (1, -1)]
    axes.add_patch(FancyArrowPatch(ends[0], ends[1], connectionstyle="arc3,rad=-1.9", **ARROW))
    beside = place + (2.1 * radius + 0.22) * out
    axes.text(beside[0], beside[1], text, fontsize=6.5, ha="center", va="center", color=INK, zorder=6)


def syndrome_panels(machine: Machine, problem: Problem) -> Figure:
    """One panel per uncorrected single error: the shortest run in which it fires, beside its counts.

    Rows are time; the frame is the head, the word beside it the state; the misread square is named where it fires.
    """
    firings = single_errors(machine, problem)
    names = sorted({str(f.error) for f in firings})
    number = {name: sum(str(f.error) == name for f in firings) for name in names}
    names.sort(key=lambda name: (-number[name], name))
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(3.5 * columns, 0.9 + 0.34 * (problem.steps[0] + 2) * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        chosen = min((f for f in firings if str(f.error) == name), key=lambda f: (len(f.word), f.time))
        _run_panel(panel, machine, problem, chosen)
        words = len({f.word for f in firings if str(f.error) == name})
        title = f"{name}: {number[name]} times, in {words} of {len(problem.words)} inputs"
        panel.set_title(title, fontsize=7.5, color=INK)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    return figure


def _run_panel(axes: Axes, machine: Machine, problem: Problem, firing: Firing) -> None:
    steps = problem.steps[problem.words.index(firing.word)]
    wrong = {firing.time: {firing.error.kind: firing.error.value}}
    end, history = run(machine, firing.word, steps, wrong)
    last = history[-1]
    write = wrong.get(steps - 1, {}).get("sym", last.rule.write)
    move = wrong.get(steps - 1, {}).get("dir", last.rule.move)
    rows = [(step.head, step.state, dict(step.tape)) for step in history]
    rows.append((last.head + SHIFT[move], end, {**last.tape, last.head: write}))
    low = min(*(head for head, _, _ in rows), 0) - 1
    high = max(*(head for head, _, _ in rows), len(firing.word) - 1) + 1
    for time, (head, state, tape) in enumerate(rows):
        for u in range(low, high + 1):
            symbol = tape.get(u, machine.symbols[0])
            colour = FILL[machine.symbols.index(symbol) % len(FILL)]
            axes.add_patch(Rectangle((u, -time), 1, 0.9, facecolor=colour, edgecolor="#ffffff"))
            axes.text(u + 0.5, -time + 0.45, symbol, ha="center", va="center", fontsize=7, color=INK)
        axes.add_patch(Rectangle((head, -time), 1, 0.9, fill=False, edgecolor=INK, linewidth=1.4))
        bad = time == len(rows) - 1
        note = f"{state}  wrong" if bad else state
        axes.text(high + 1.2, -time + 0.45, note, va="center", fontsize=7, color=SUPPRESSION if bad else INK)
        if time == firing.time:
            axes.text(low - 0.2, -time + 0.45, "misread", ha="right", va="center", fontsize=7, color=SUPPRESSION)
    axes.set_xlim(low - 2.2, high + 3.6)
    axes.set_ylim(-len(rows) + 0.8, 1.1)
    axes.axis("off")


def hessian_map(machine: Machine, problem: Problem) -> Figure:
    """Counts of single errors by input, and Hess H ordered by control flow; unused errors are left out."""
    table = counts(machine, problem)
    first = np.where(table.any(0), (table > 0).argmax(0), len(table))
    order = [int(v) for v in np.argsort(first, kind="stable") if first[v] < len(table)]
    names = [str(machine.errors[v]) for v in order]
    figure = Figure(figsize=(9.0, 1.4 + 0.34 * max(len(names), 6)), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(table[:, order].T, cmap="Blues", aspect="auto", vmin=0, vmax=max(2.0, table.max()))
    _numbers(left, table[:, order].T, "{:.0f}")
    left.set_xticks(range(len(problem.words)), problem.words, rotation=90, fontsize=7)
    left.set_yticks(range(len(names)), names, fontsize=7)
    left.set_title("uncorrected single errors per input", fontsize=9, color=INK)
    H = hessian(table)[np.ix_(order, order)]
    right.imshow(H, cmap="Oranges", aspect="auto")
    _numbers(right, H, "{:.2f}")
    right.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    right.set_yticks(range(len(names)), [""] * len(names))
    values = np.linalg.eigvalsh(H)[::-1]
    shown = ", ".join(f"{v:.3f}" for v in values if v > 1e-9)
    right.set_title(f"Hess H; eigenvalues {shown}", fontsize=9, color=INK)
    return figure


def _numbers(axes: Axes, table: np.ndarray, form: str) -> None:
    for (i, j), value in np.ndenumerate(table):
        if value:
            colour = "#ffffff" if value > 0.7 * table.max() > 1 else INK
            axes.text(j, i, form.format(value), ha="center", va="center", fontsize=6.5, color=colour)


def exact_against_sampled(rows: Sequence[tuple[str, str, float, float, float]]) -> Figure:
    """Sampled over exact learning coefficients, points of one function joined.

    Args:
        rows: (function, machine, exact, sampled, error); exact with the correction (m - 1)/log n.
    """
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    functions = list(dict.fromkeys(row[0] for row in rows))
    colours = [EXPRESSION, SUPPRESSION, "#2f9e62", "#8a5cc2", "#b0486f", "#6b6b2a", "#444f9a", "#777777"]
    top = max(row[2] for row in rows) * 1.06
    left.plot([0, top], [0, top], color=SOFT, linewidth=0.8)
    for function, colour in zip(functions, colours * 3, strict=False):
        mine = sorted((r for r in rows if r[0] == function), key=lambda r: r[2])
        exact, sampled, error = (np.asarray([r[k] for r in mine]) for k in (2, 3, 4))
        left.errorbar(exact, sampled, 3 * error, fmt="o-", markersize=4, linewidth=0.9, color=colour, label=function)
        right.errorbar(exact, sampled - exact, 3 * error, fmt="o", markersize=4, color=colour, linewidth=0.9)
    left.set_xlabel("exact λ_f (with (m − 1)/log n)")
    left.set_ylabel("sampled n E[f], 3 standard errors")
    left.legend(fontsize=7, frameon=False)
    right.axhline(0.0, color=SOFT, linewidth=0.8)
    right.set_xlabel("exact λ_f")
    right.set_ylabel("sampled − exact")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def preference_curve(
    n_beta: np.ndarray, exact: np.ndarray, asymptote: np.ndarray, sampled: np.ndarray, error: np.ndarray
) -> Figure:
    """Z1/Z2 of M1 and M2 over n: quadrature, sampled points with errors, asymptote."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.loglog(n_beta, exact, color=INK, linewidth=1.4, label="quadrature")
    axes.loglog(n_beta, asymptote, color=SOFT, linewidth=0.9, linestyle="--", label="asymptote 0.272 √n")
    axes.errorbar(n_beta, sampled, 3 * error, fmt="o", color=SUPPRESSION, markersize=4, label="sampled, 3 errors")
    axes.set_xlabel("n")
    axes.set_ylabel("posterior preference Z(M1)/Z(M2)")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def exact_against_sampled_response(rows: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Sampled over exact susceptibilities to inputs, one panel for the values and one for the gaps.

    Args:
        rows: (machine, exact, sampled, error), ``[inputs]`` each.
    """
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = [EXPRESSION, SUPPRESSION, "#2f9e62", "#8a5cc2", "#b0486f"]
    for number, ((name, exact, sampled, error), colour) in enumerate(zip(rows, colours, strict=True)):
        left.errorbar(exact, sampled, 3 * error, fmt="o", markersize=4, color=colour, linewidth=0.9, label=name)
        place = np.arange(len(exact)) + (len(exact) + 1) * number
        right.errorbar(place, sampled - exact, 3 * error, fmt="o", markersize=4, color=colour, linewidth=0.9)
    ends = [min(row[1].min() for row in rows) - 0.5, max(row[1].max() for row in rows) + 0.5]
    left.plot(ends, ends, color=SOFT, linewidth=0.8, zorder=0)
    left.set(xlabel="exact n² χ", ylabel="sampled n² χ, 3 standard errors")
    left.legend(fontsize=7, frameon=False)
    right.axhline(0.0, color=SOFT, linewidth=0.8)
    right.set(xlabel="inputs, machine by machine", ylabel="sampled − exact", xticks=[])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def response_map(squares: Sequence[str], words: Sequence[str], chi: np.ndarray) -> Figure:
    """Susceptibilities ``[squares, inputs]`` as a heat map with numbers; rows that answer alike lie together."""
    scaled = chi / np.abs(chi).max(1, keepdims=True)
    order = np.lexsort(np.round(scaled, 6).T[::-1])
    figure = Figure(figsize=(2.6 + 0.62 * len(words), 1.0 + 0.26 * len(squares)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(scaled[order], cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(chi[order]):
        colour = "#ffffff" if scaled[order][i, j] < -0.8 else INK
        axes.text(j, i, f"{value:.3g}", ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_xticks(range(len(words)), words, fontsize=8)
    axes.set_yticks(range(len(squares)), [squares[i] for i in order], fontsize=7)
    axes.xaxis.tick_top()
    return figure
