"""A page made of invented readings of real text, for the page's tests and for looking at it."""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from susceptometer.structure.patterns import PATTERNS, RULES, token_patterns
from susceptometer.view.page import Diagnostic, PageData, PatternTable, TokenTable

LEAD = (
    "{parts} attention heads of a two-layer language model with 0.9 million weights, each moved on its own "
    "around the trained weights, and the loss of every token of two probes followed."
)
NOTE = "One chain group of blocks.0.attn.head.3 drifts: its R-hat is 1.08. More burn-in would help."
RECIPE = {
    "sampler": "SGLD",
    "n_beta": "30",
    "gamma": "300",
    "step_size": "1e-4",
    "chains": "8 groups of 2 pairs",
    "burn_in": "200",
    "draws": "100",
    "thin": "2",
    "coupling": "antithetic pairs, h = 0.1",
}
PROVENANCE = {
    "model": "pico seed 0, step 49,000",
    "model hash": "9f2c66e1c0aa",
    "data hash": "71d0b3f8e2b4",
    "susceptometer": "0.1.0",
    "torch": "2.13.0",
    "seed": "0",
    "CPU time": "84 s",
}
WORDS = re.compile(r" ?[A-Za-z]{1,5}|[A-Za-z]+| ?[0-9]|\s| ?[^\sA-Za-z0-9]+")


def words(text: str, rows: int, width: int) -> list[list[str]]:
    """Full rows of word-like tokens."""
    pieces = WORDS.findall(text)[: rows * width]
    return [pieces[k : k + width] for k in range(0, len(pieces) - width + 1, width)]


def token_table(rows: int, width: int, rng: np.random.Generator) -> tuple[TokenTable, np.ndarray]:
    """Tokens of two probes, source and prose of the standard library, and their pattern flags."""
    texts = {
        "code": Path(argparse.__file__).read_text(encoding="utf-8"),
        "prose": "\n".join(topics.values()),
    }
    probes = {name: words(text, rows, width) for name, text in texts.items()}
    text = [word for lines in probes.values() for line in lines for word in line]
    known = {word: k for k, word in enumerate(dict.fromkeys(text))}
    ids = {name: np.array([[known[word] for word in line] for line in lines]) for name, lines in probes.items()}
    flags = [token_patterns(lines, ids[name]).reshape(len(PATTERNS), -1) for name, lines in probes.items()]
    place = [(name, k, j) for name, lines in probes.items() for k in range(len(lines)) for j in range(width)]
    names, row, position = zip(*place, strict=True)
    loss = np.where(np.array(position) == 0, np.nan, rng.gamma(2.0, 1.2, len(text)))
    table = TokenTable(text=tuple(text), probe=names, row=np.array(row), position=np.array(position), loss=loss)
    return table, np.concatenate(flags, axis=1)


def example_page(rows: int = 12, width: int = 160, parts: int = 16, seed: int = 5) -> PageData:
    """A whole page: heads that answer some patterns, with honest-looking noise."""
    rng = np.random.default_rng(seed)
    tokens, flags = token_table(rows, width, rng)
    gain = rng.normal(0, 0.35, (parts, len(PATTERNS))) * (rng.random((parts, len(PATTERNS))) < 0.5)
    gain[(parts // 2 + 3) % parts, PATTERNS.index("induction")] = -2.2
    signal = gain @ flags + rng.normal(0, 0.35, (parts, len(tokens)))
    size = 10 ** rng.uniform(-5.2, -3.8, (parts, 1))
    error = size * rng.gamma(6, 0.05, (parts, len(tokens)))
    chi = size * signal + error * rng.normal(size=error.shape)
    chi[:, np.isnan(tokens.loss)] = np.nan
    components = tuple(f"blocks.{k // 8}.attn.head.{k % 8}" for k in range(parts))
    return PageData(
        title="pico, read on code and prose",
        lead=LEAD.format(parts=parts),
        components=components,
        llc=np.sort(rng.gamma(8, 1.1, parts))[rng.permutation(parts)],
        llc_error=rng.gamma(5, 0.06, parts),
        chi=chi,
        chi_error=error,
        tokens=tokens,
        patterns=pattern_table(chi, flags, size, rng),
        diagnostics=tuple(_diagnostic(name, k) for k, name in enumerate(components)),
        traces=_traces(parts, rng),
        notes=(NOTE,),
        recipe=RECIPE,
        provenance=PROVENANCE,
        command="susceptometer read pico --seed 0 --into runs/pico && susceptometer report runs/pico",
    )


def pattern_table(chi: np.ndarray, flags: np.ndarray, size: np.ndarray, rng: np.random.Generator) -> PatternTable:
    """Means over patterns, with an invented error."""
    psi = chi - np.nanmean(chi, axis=1, keepdims=True)
    mean = np.stack(
        [np.nanmean(psi[:, row], axis=1) if row.any() else np.full(len(psi), np.nan) for row in flags],
        axis=1,
    )
    error = size * rng.gamma(6, 0.01, mean.shape)
    return PatternTable(names=PATTERNS, rules=tuple(RULES.values()), flags=flags, psi=mean, error=error)


def _diagnostic(name: str, place: int) -> Diagnostic:
    well = Diagnostic(
        component=name,
        status="healthy",
        rhat=1.003 + 0.0007 * place,
        ess=310 + 17 * place,
        groups=8,
        draws=100,
        words="Chains agree and mix.",
    )
    words = "Groups disagree a little: give it more burn-in before trusting the third digit."
    return replace(well, status="doubtful", rhat=1.08, ess=61, words=words) if place == 3 else well


def _traces(parts: int, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=(parts, 8, 100))
    for draw in range(1, 100):
        noise[:, :, draw] = 0.8 * noise[:, :, draw - 1] + 0.6 * noise[:, :, draw]
    return 2.3 + 0.01 * noise


def without_traces(data: PageData) -> PageData:
    """The same page with nothing optional."""
    return replace(data, traces=None, notes=(), recipe={}, provenance={}, command="")
