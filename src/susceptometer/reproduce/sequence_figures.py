"""Figures of the claims on sequence modes: spectra, the resolution dial, the gap of a dropped mode, text."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from susceptometer.reproduce import sequence_runs as runs
from susceptometer.reproduce import sequence_text_runs as text_runs
from susceptometer.reproduce.sequence_pair_claims import pair_figures
from susceptometer.reproduce.setting import Setting

COLORS = ("#3b5bdb", "#0ca5a0", "#d9762b", "#9c6ade", "#1b2230")
MODES_SHOWN = 8


def sequence_figures(setting: Setting) -> Mapping[str, Figure]:
    """Caption to figure, from kept cells."""
    return {
        "Resolution dial: exact coefficient of the four-spin model whose w* has learned the first spin only. Every "
        "curve keeps one more mode of the data; it leaves the one above it where n_beta resolves that mode.":
            dial_figure(),
        "The same weights under two losses: paired gap between the whole law and the law without its last mode, "
        "against the visibility rho of that mode; crosses are the quadratic prediction.": gap_figure(setting),
        "Spectra of the text: amplitudes of bigram and backed-off trigram modes above their counting floor, and of the "
        "model's own law.": spectrum_figure(setting),
        "Bigram modes of the text: tokens with the largest positive and negative entries.": words_figure(setting),
        "A language model on truncated labels, coefficient of all weights over that of the whole loss, against the "
        "number of modes kept. Lines: told by one run under the whole loss (dotted where what is dropped is too large "
        "for it); points: sampled under the truncated loss.": text_figure(setting),
        **pair_figures(setting),
    }  # fmt: skip


def dial_figure() -> Figure:
    """lambda_hat(n_beta) for 1..4 kept spins, with the departure points."""
    figure, axes = _axes()
    n_betas = np.geomspace(0.3, 2000, 60)
    curves = runs.dial(n_betas)
    for kept in range(4):
        axes.plot(n_betas, curves[:, kept], color=COLORS[kept], label=f"{kept + 1} spins kept")
    for number, (at, _) in enumerate(runs.departures(), 2):
        axes.axvline(at, color=COLORS[number - 1], linewidth=0.8, linestyle=":")
    axes.axhline(0, color="#5b6474", linewidth=0.8)
    axes.set(xscale="log", ylim=(-1.5, 2.2), xlabel="inverse temperature nβ (1/nats)", ylabel="learning coefficient λ̂")
    axes.legend(frameon=False)
    return figure


def gap_figure(setting: Setting) -> Figure:
    """Paired gap against visibility, all seeds."""
    figure, axes = _axes()
    amount = runs.AMOUNTS[setting.scale]
    for number, seed in enumerate(amount.seeds):
        cells = [runs.same_weights(setting, seed, n_beta) for n_beta in amount.n_betas]
        rho = [cell["visibility"][0] for cell in cells]
        gaps = [cell["cut"] - cell["whole"] for cell in cells]
        error = [gap.std(ddof=1) / np.sqrt(len(gap)) for gap in gaps]
        color = COLORS[number % len(COLORS)]
        axes.errorbar(rho, [gap.mean() for gap in gaps], yerr=error, fmt="o-", color=color, label=f"seed {seed}")
        axes.plot(rho, [cell["predicted"][0] - cell["predicted"][1] for cell in cells], "x", color=color)
    for mark in (0.01, 0.1):
        axes.axvline(mark, color="#5b6474", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="visibility ρ of the dropped mode", ylabel="λ̂ truncated − λ̂ whole")
    axes.legend(frameon=False)
    return figure


def spectrum_figure(setting: Setting) -> Figure:
    """Amplitudes of the text's modes with their floors."""
    figure, axes = _axes()
    found = text_runs.spectra(setting)
    for name, color in zip(("bigram", "trigram"), COLORS, strict=False):
        amplitude = found[f"{name}_amplitude"]
        axes.plot(np.arange(1, len(amplitude) + 1), amplitude, color=color, label=name)
        floor = found[f"{name}_floor"][0]
        axes.axhline(floor, color=color, linewidth=0.9, linestyle=":", label=f"{name}: counting floor")
    model = found["model_amplitude"]
    axes.plot(np.arange(1, len(model) + 1), model, color=COLORS[4], linewidth=1, label="the model's own law")
    axes.set(xscale="log", yscale="log", ylim=(1e-3, 0.3), xlabel="mode", ylabel="amplitude s")
    axes.legend(frameon=False)
    return figure


def words_figure(setting: Setting) -> Figure:
    """A table of the first bigram modes in words."""
    figure = Figure(figsize=(8.4, 0.42 * MODES_SHOWN + 0.7))
    axes = figure.subplots()
    axes.axis("off")
    strings, amplitude = text_runs.strings_of(), text_runs.spectra(setting)["bigram_amplitude"]
    rows = []
    for mode in range(min(MODES_SHOWN, len(amplitude))):
        high, low = text_runs.mode_words(setting, strings, mode)
        rows.append([f"{mode + 1}", f"{amplitude[mode]:.4f}", _printed(high), _printed(low)])
    labels, widths = ["mode", "s", "highest", "lowest"], [0.07, 0.09, 0.42, 0.42]
    table = axes.table(rows, colLabels=labels, loc="center", cellLoc="left", colWidths=widths)
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.scale(1, 1.4)
    return figure


def text_figure(setting: Setting) -> Figure:
    """lambda_K over the whole coefficient against modes kept, one panel per checkpoint."""
    amount = text_runs.TEXT_AMOUNTS[setting.scale]
    figure = Figure(figsize=(2.3 * len(amount.steps) + 1.2, 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(amount.steps), sharey=True))
    for axes, step in zip(panels, amount.steps, strict=True):
        for color, n_beta in zip(COLORS, amount.n_betas, strict=False):
            _text_curve(axes, setting, (step, n_beta), color)
        axes.axhline(1, color="#5b6474", linewidth=0.8, linestyle=":")
        axes.set(xscale="log", xlabel="modes kept", ylim=(-0.6, 1.6), title=f"step {text_runs.step_of(step):,}")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("λ̂ truncated / λ̂ whole")
    panels[-1].legend(frameon=False, fontsize=8)
    return figure


def _text_curve(axes: Axes, setting: Setting, cell: tuple[int, float], color: str) -> None:
    step, n_beta = cell
    found = text_runs.sensitivity(setting, step, n_beta)
    whole = found["llc"].mean()
    small = found["spread"] < 1
    told = found["cut"].mean(0) / whole
    axes.plot(found["kept"][small], told[small], color=color, linewidth=1.2)
    axes.plot(found["kept"], told, color=color, linewidth=0.7, linestyle=":")
    axes.plot([], [], color=color, label=f"nβ {n_beta:g}")
    amount = text_runs.TEXT_AMOUNTS[setting.scale]
    for count in amount.counts if n_beta in amount.sampled.get(step, ()) else ():
        value = text_runs.cut_llc(setting, step, count, n_beta)
        error = value.std(ddof=1) / np.sqrt(len(value)) / abs(whole)
        axes.errorbar(count, value.mean() / whole, yerr=error, fmt="o", markersize=4, color=color)


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 3.9))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _printed(words: list[str]) -> str:
    shown = [word.replace("\n", "\\n").replace("\t", "\\t").replace("$", "\\$") for word in words]
    return "  ".join(f"'{word}'" if word.isprintable() else repr(word) for word in shown)
