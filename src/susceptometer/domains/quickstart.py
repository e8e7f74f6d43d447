"""The main job in minutes: read every head of the bundled model on real text, and write the page."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.language import LanguageSource, load_source
from susceptometer.domains.token_text import TextPlan
from susceptometer.estimate.diagnostics import check
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import susceptibility
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.reading import Reading
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.view.report import report

HEADS = "blocks.*.attn.head.*"


def quick_source() -> LanguageSource:
    """pico on short rows of the default text and of the generated probes, about 1,300 tokens."""
    return LanguageSource("pico", plan=TextPlan(length=64))


def quick_recipe(groups: int = 4, draws: int = 24) -> Recipe:
    """A small coupled recipe for the heads of the bundled models: about seven CPU seconds a head."""
    return Recipe(
        sampler=LeimkuhlerMatthews(step_size=2e-3),
        schedule=Schedule(groups=groups, burn_in=16, draws=draws, thin=4),
        n_beta=30.0,
        gamma=300.0,
        coupling=coupled(0.1),
        batch_rows=2,
    )


@dataclass(frozen=True)
class Quickstart:
    """What the quickstart leaves: the reading, its page, and its tables as text."""

    reading: Reading
    page: Path
    text: str


def quickstart(
    folder: str | Path,
    *,
    source: LanguageSource | None = None,
    recipe: Recipe | None = None,
    options: ReadOptions | None = None,
    say: Callable[[str], None] = print,
) -> Quickstart:
    """Read all heads of the bundled model with coupled chains and write the page.

    Args:
        folder: Where run and page go; a second call goes on or finds everything done.
        source: Model and text; None: `quick_source`.
        recipe: None: `quick_recipe`.
        options: Progress and engine.
        say: Told every line.

    Raises:
        RunError: The folder holds another run or cannot be written.
        ChainError: Chains failed.
    """
    path, source = Path(folder), source or quick_source()
    subject = load_source(source)
    tokens = sum(batch["tokens"].numel() - len(batch["tokens"]) for batch in subject.probes.values())
    say(f"{subject.name}: {len(subject.probes)} probes of real and generated text, {tokens:,} tokens")
    options = replace(options or ReadOptions(), announce=say)
    reading = read(subject, HEADS, recipe=recipe or quick_recipe(), seed=0, into=path / "run", options=options)
    text = "\n\n".join(map(repr, (check(reading), llc(reading), susceptibility(reading))))
    say(text)
    page = report(reading, path / "report.html")
    say(f"page: {page}")
    return Quickstart(reading, page, text)
