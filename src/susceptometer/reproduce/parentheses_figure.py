"""Pictures of the parentheses experiment: shares by arm, the course of training, predictions beside outcomes."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from susceptometer.domains.parentheses_training import NESTED_FROM
from susceptometer.reproduce.parentheses_arms import RELEASE
from susceptometer.reproduce.parentheses_claims import Results
from susceptometer.reproduce.parentheses_meanings import compared, moved, rises

UP, DOWN, INK, SOFT, OTHER = "#d9762b", "#2f7fc1", "#1b2230", "#9aa1ac", "#7a4fa3"
COLOURS = {
    "base": INK, "log-odds+": UP, "log-odds-": DOWN, "replanned+": UP, "replanned-": DOWN, "random": OTHER,
    "neutral": SOFT,
}  # fmt: skip


def drawn(results: Results) -> dict[str, Figure]:
    """Caption to figure."""
    return {
        "Share of models that learned Nested, by arm (95 % Wilson intervals)": shares(results),
        "Share of Nested models on the way, and accuracy in distribution; the line marks the release": courses(results),
        "Change of the share of disagreeing strings called FALSE against the prediction of the log-odds response "
        "(bars: one standard error over paired models)": outcomes(results),
    }


def colour(name: str) -> str:
    """Colour of an arm, by the beginning of its name."""
    return next((c for word, c in COLOURS.items() if name.startswith(word)), "#3f8f5f")


def shares(results: Results) -> Figure:
    """One interval per arm."""
    names = list(results.arms)
    figure = Figure(figsize=(8.4, 0.28 * len(names) + 1.2), layout="constrained")
    ax = figure.subplots()
    for place, name in enumerate(names):
        one = results.nested(name)
        low, high = one.interval()
        ax.plot([low, high], [-place, -place], color=colour(name), linewidth=2)
        ax.plot([one.value], [-place], "o", color=colour(name))
    ax.axvline(results.nested("base").value, color=INK, linewidth=0.7, linestyle=":")
    ax.set_yticks([-i for i in range(len(names))], [f"{n}  ({results.arms[n].mix.models})" for n in names], fontsize=8)
    ax.set(xlim=(-0.02, 1.02), xlabel="P(Nested)")
    return figure


def courses(results: Results) -> Figure:
    """P(Nested) and accuracy against the share of training that is done."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    styles: Mapping[str, str] = {"kept": ":", "early": "--", "log-odds+": "-.", "log-odds-": "-."}
    for name in ["base", *results.starting("log-odds", "replanned")]:
        if name.endswith("half"):
            continue
        course = results.arms[name].course
        done = course.steps / course.steps[-1]
        style = next((s for word, s in styles.items() if name.endswith(word)), "-")
        left.plot(done, (course.nested_share >= NESTED_FROM).mean(1), style, color=colour(name), label=name)
        right.plot(done, course.accuracy.mean(1), style, color=colour(name))
    for ax in (left, right):
        ax.axvline(RELEASE.full, color=SOFT, linewidth=0.8)
    left.set(xlabel="share of training done", ylabel="P(Nested)", ylim=(-0.02, 1.02))
    right.set(xlabel="share of training done", ylabel="accuracy in distribution")
    right.set_ylim(top=1.005)
    left.legend(frameon=False, fontsize=7)
    return figure


def outcomes(results: Results) -> Figure:
    """Predicted effect (up to the unknown n_beta of training) against the outcome."""
    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    row = rises(results, "log-odds").mean(0)
    _scatter(panels[0], results, {n: float(row @ results.arms[n].mix.h) for n in compared(results)})
    _scatter(panels[1], results, {n: float(row @ results.arms[n].realised) for n in compared(results)})
    panels[0].set(xlabel="predicted, h as planned [nats]", ylabel="change of the share called FALSE")
    panels[1].set(xlabel="predicted, h as realised after clipping [nats]")
    return figure


def _scatter(ax: Axes, results: Results, expected: Mapping[str, float]) -> None:
    middle = (max(expected.values(), default=0.0) + min(expected.values(), default=0.0)) / 2
    for name, x in expected.items():
        value, error = moved(results, name)
        ax.errorbar([x], [value], yerr=[error], fmt="o", markersize=4, color=colour(name))
        side, shift = ("right", -4) if x > middle else ("left", 4)
        ax.annotate(
            name, (x, value), fontsize=6, xytext=(shift, 3), textcoords="offset points", color="#5b6474", ha=side
        )
    ax.axhline(0, color=SOFT, linewidth=0.6)
    ax.axvline(0, color=SOFT, linewidth=0.6)
    ax.margins(0.12)
