"""Claims about principal pairs of chi beside modes of the text: linear in them, decided by few tokens, or neither."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce import sequence_pairs as pairs
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.structure.response import FORMS
from susceptometer.testbed.form import Array

FIRST = 3
"""Pairs of a form and seed that are counted in the verdicts: those that stand out of chain noise in most seeds."""

LEAST = 0.3
"""Reliability below which nothing can be said of a pair."""

BARS = {"expansion": "#9aa3b2", "identity": "#c7ccd6", "bigram": "#3b5bdb", "both": "#0ca5a0", "all": "#d9762b"}


def pair_claims(setting: Setting) -> list[Claim]:
    """Linear in modes; decided by the last tokens; the induction pair."""
    fits, last = pairs.pair_fits(setting), pairs.pair_recurrence(setting)
    surprisal = pairs.pair_surprisal(setting)
    claims = [_linear(fits, surprisal, form) for form in range(len(FORMS))]
    claims += [_tokens(fits, last, form) for form in range(len(FORMS))]
    found = _induction(fits, last)
    return [*claims, found] if found else claims


def _linear(fits: Arrays, surprisal: Arrays, form: int) -> Claim:
    """Held-out R² of the pairs from the values of the modes."""
    chosen = [(fits["form"] == form) & (fits["pc"] == pc) for pc in range(1, FIRST + 1)]
    width = {name: int(fits[f"counts {name}"][-1]) for name in ("bigram", "both")}
    names = {
        "bigram": f"{width['bigram']} bigram modes", "both": "and as many trigram modes",
        "expansion": "the products of their first sides", "all": "all with loss and copying attention",
    }  # fmt: skip
    shown = "; ".join(
        f"pair {pc}: " + ", ".join(f"{text} {_r2(fits, name, mask)}" for name, text in names.items())
        for pc, mask in enumerate(chosen, 1)
    )
    best = [max(_mean(fits, "both", mask), _mean(fits, "expansion", mask)) for mask in chosen]
    part = [value / max(LEAST, _reliable(fits, mask)) for value, mask in zip(best, chosen, strict=True)]
    verdict: Verdict = "agrees" if min(part) > 0.5 else "partly" if max(part) > 0.5 else "differs"
    null = ", ".join(_r2(fits, "identity", mask) for mask in chosen)
    mixed = max(abs(_mean(fits, "permuted", mask)) for mask in chosen)
    one = np.mean(surprisal["R2 surprisal"][-1][chosen[0]])
    return Claim(
        f"{FORMS[form]}: few modes of the text's bigrams and trigrams carry the principal pairs of chi (held-out R², "
        f"mean of {len(np.unique(fits['seed']))} training seeds)",
        "chi is a sum over modes; no number (baker2025)",
        f"{shown}; reliable part {', '.join(f'{_reliable(fits, mask):.2f}' for mask in chosen)}; pair 1 from the two "
        f"counted surprisals {one:.3f}; largest canonical correlation of {int(fits['pc'].max())} pairs with both kinds "
        f"of modes, held out, {fits['canonical'][form :: len(FORMS), 0].mean():.2f}",
        verdict,
        f"{width['bigram']} random functions of the token's identity: {null}; tokens permuted within rows: at most "
        f"{mixed:.3f}",
    )


def _tokens(fits: Arrays, last: Arrays, form: int) -> Claim:
    """Ceilings of all functions of one, two and three tokens."""
    parts, two, three = [], 0, 0
    chosen = [(fits["form"] == form) & (fits["pc"] == pc) for pc in range(1, FIRST + 1)]
    for pc, mask in enumerate(chosen, 1):
        levels = ", ".join(_pm(last["fixed"][k][mask], last["fixed error"][k][mask]) for k in range(3))
        parts.append(f"pair {pc}: {levels} of {_reliable(fits, mask):.2f} reliable")
        gain = last["fixed"][2][mask].mean() - last["fixed"][1][mask].mean()
        three += gain > 2 * last["fixed error"][2][mask].mean()
        over = last["fixed"][1][mask].mean() - 0.5 * _reliable(fits, mask)
        two += over > 2 * last["fixed error"][1][mask].mean()
    return Claim(
        f"{FORMS[form]}: the principal pairs are functions of the last two tokens, the target included, or of three",
        "not published; the share is the R² of the best function of the last tokens (derived)",
        f"variance decided by the token, two, three tokens, on the {100 * last['coverage'][2]:.0f} % of tokens whose "
        f"three last recur elsewhere: {'; '.join(parts)}; two tokens decide more than half (by two "
        f"errors) of {two} of {FIRST}, a third adds to {three}",
        "agrees" if two == FIRST else "partly" if two else "differs",
        f"tokens permuted within rows: largest |share| {np.abs(last['null'][:3][:, fits['form'] == form]).max():.3f}, "
        f"{np.abs(last['null'] / last['null error'])[:3].max():.1f} errors",
    )


def _induction(fits: Arrays, last: Arrays) -> Claim | None:
    """The pair that separates the induction heads, two-run form."""
    mask = fits["induction"].astype(bool) & (fits["form"] == FORMS.index("two-run"))
    if not mask.any():
        return None
    reliable, three = _reliable(fits, mask), float(last["fixed"][2][mask].mean())
    error = float(last["fixed error"][2][mask].mean())
    levels = ", ".join(_pm(last["fixed"][k][mask], last["fixed error"][k][mask]) for k in range(3))
    number = ", ".join(f"{pc:.0f}" for pc in fits["pc"][mask])
    return Claim(
        "two-run: the pair of the induction heads needs more than bigrams and trigrams",
        "expected: induction looks back farther; no number",
        f"pairs {number} of the seeds: one, two, three tokens decide {levels} of {reliable:.2f} reliable, so "
        f"{format_pm(reliable - three, error)} is left to longer contexts; held-out R² of both kinds of modes "
        f"{_r2(fits, 'both', mask)}, of the copying attention of the induction heads {_r2(fits, 'copying', mask)}, of "
        f"all with the loss {_r2(fits, 'all', mask)}",
        "open" if reliable < LEAST else "agrees" if reliable - three > 3 * error else "differs",
        "pair 1 of the same form: row above",
    )


def _mean(fits: Arrays, name: str, mask: Array) -> float:
    return float(fits[f"R2 {name}"][-1][mask].mean())


def _r2(fits: Arrays, name: str, mask: Array) -> str:
    """Mean over seeds of R² with all features; all seeds resample the same rows."""
    return format_pm(_mean(fits, name, mask), float(fits[f"repeats {name}"][:, mask].mean(1).std(ddof=1)))


def _reliable(fits: Arrays, mask: Array) -> float:
    return float(fits["reliability"][mask].mean())


def _pm(value: Array, error: Array) -> str:
    """Mean over seeds; their errors come from the same rows and are not averaged away."""
    return format_pm(float(value.mean()), float(error.mean()))


def pair_figures(setting: Setting) -> Mapping[str, Figure]:
    """Bars of both forms, and R² against the number of modes."""
    fits, last = pairs.pair_fits(setting), pairs.pair_recurrence(setting)
    return {
        "Principal pairs of chi beside the modes of the text, mean of the training seeds. Bars: held-out R² of ridge "
        "fits on mode values and, for comparison, on random functions of the token's identity and on modes, loss and "
        "copying attention together. Violet ticks: the part that any function of the last one, two, three tokens could "
        "carry, on tokens whose three last recur; black: reliable part. An asterisk marks a pair of the induction "
        "heads.":
            bars_figure(fits, last),
        "The same against the number of modes: bigram modes (solid), bigram and trigram modes in turn (dashed), random "
        "functions of the token (dotted), for the first three pairs.": curves_figure(fits),
    }  # fmt: skip


def bars_figure(fits: Arrays, last: Arrays) -> Figure:
    """One panel per form."""
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for form, axes in enumerate(panels):
        numbers = np.unique(fits["pc"])
        for place, pc in enumerate(numbers):
            _bars(axes, fits, last, ((fits["form"] == form) & (fits["pc"] == pc), place))
        marked = [
            f"{pc}{'*' if fits['induction'][(fits['form'] == form) & (fits['pc'] == pc)].mean() > 0.4 else ''}"
            for pc in numbers
        ]
        axes.set_xticks(range(len(numbers)), marked)
        axes.set(title=FORMS[form], xlabel="principal pair")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of the variance of the scores")
    titles = ("products of bigram modes", "random functions of the token", "bigram modes", "and trigram modes")
    handles = [axes.bar([0], [0], color=color) for color in BARS.values()]
    panels[1].legend(handles, (*titles, "and loss, copying attention"), frameon=False, fontsize=8, loc="upper right")
    return figure


def _bars(axes: Axes, fits: Arrays, last: Arrays, cell: tuple[Array, int]) -> None:
    mask, place = cell
    for k, (name, color) in enumerate(BARS.items()):
        error = float(fits[f"repeats {name}"][:, mask].mean(1).std(ddof=1))
        axes.bar(place + 0.15 * (k - 2), max(0.0, _mean(fits, name, mask)), 0.14, yerr=error, color=color)
    for k, color in enumerate(("#b9a2e0", "#8a5cc2", "#5b2d91")):
        height, reach = float(last["fixed"][k][mask].mean()), 0.25 + 0.075 * k
        axes.plot([place - reach, place + reach], [height] * 2, color=color, lw=1.2)
    axes.plot([place - 0.42, place + 0.42], [_reliable(fits, mask)] * 2, color="#1b2230", lw=1.6)


def curves_figure(fits: Arrays) -> Figure:
    """R² against the number of modes."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for form, axes in enumerate(panels):
        for pc, color in zip(range(1, FIRST + 1), ("#3b5bdb", "#0ca5a0", "#d9762b"), strict=True):
            mask = (fits["form"] == form) & (fits["pc"] == pc)
            for name, style in (("bigram", "-"), ("both", "--"), ("identity", ":")):
                label = f"pair {pc}" if name == "bigram" else None
                axes.plot(fits[f"counts {name}"], fits[f"R2 {name}"][:, mask].mean(1), style, color=color, label=label)
        axes.set(xscale="log", xlabel="modes or random functions", title=FORMS[form])
        axes.axhline(0, color="#5b6474", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("held-out R²")
    panels[0].legend(frameon=False)
    return figure
