"""An explorer page of invented readings of real and of hostile text, for its tests and for looking at it."""

import numpy as np

from page_example import token_table
from susceptometer.structure.patterns import PATTERNS, RULES, pattern_class
from susceptometer.view.explorer_data import ClusterFacts, ExplorerData, Frame, TokenFacts
from susceptometer.view.explorer_maps import principal_maps

HOSTILE = (
    "</script><script>window.stolen = 1</script>", "<img src=x onerror='window.stolen = 2'>", "\u202eevil\u202c",
    "שלום", "👩\u200d🔬", "\x00\x07", "\u2028", "\ud83d", "&lt;b&gt;", "{{payload}}", "${1 + 1}", "\\u003c",
)  # fmt: skip
"""Tokens that could break a page: markup, direction marks, joined emoji, control characters, half a character."""


def facts(rows: int = 6, width: int = 60, *, hostile: bool = True, seed: int = 5) -> TokenFacts:
    """Tokens of two probes; the first row of the second probe is hostile."""
    table, flags = token_table(rows, width, np.random.default_rng(seed))
    words = list(table.text)
    if hostile:
        first = table.probe.index("prose")
        words[first : first + len(HOSTILE)] = HOSTILE
    return TokenFacts(
        words=tuple(words), probe=np.array(table.probe), row=table.row, position=table.position,
        patterns={name: RULES[name] for name in PATTERNS}, flags=flags, classes=pattern_class(flags),
    )  # fmt: skip


def frame(label: str, tokens: TokenFacts, strength: float, *, parts: int = 8, groups: int = 5, seed: int = 1) -> Frame:
    """Parts that answer some patterns with a strength; honest replicates, so that errors are those between groups."""
    rng = np.random.default_rng(seed)
    gain = rng.normal(size=(parts, len(PATTERNS))) * (rng.random((parts, len(PATTERNS))) < 0.4)
    size = 10 ** rng.uniform(-5, -4, (parts, 1))
    signal = size * (strength * gain @ tokens.flags + rng.standard_t(4, (parts, len(tokens))) * 0.5)
    each = signal + size * 0.8 * rng.normal(size=(groups, parts, len(tokens)))
    each -= each.mean(2, keepdims=True)
    psi = each.mean(0)
    error = each.std(0, ddof=1) / np.sqrt(groups)
    loss = rng.gamma(2.0, 1.2, len(tokens))
    return Frame(label=label, psi=psi, error=error, replicates=each - psi, loss=loss)


def example(tokens: TokenFacts, *, steps: tuple[int, ...] = (0, 400, 12_000), clusters: bool = True) -> ExplorerData:
    """The whole page; the two clusters are the spacing tokens and the tokens at one place of a row."""
    frames = tuple(frame(f"step {step:,}", tokens, k / 2) for k, step in enumerate(steps))
    labels = np.where(tokens.flags[PATTERNS.index("spacing")], 0, np.where(tokens.position == 3, 1, -1))
    found = ClusterFacts(
        labels=labels, names=("spacing", "fourth <b>place</b>"), conductance=np.array([0.021, 0.143]),
        halves=np.array([0.91, 0.58]), seeds=np.array([0.97, np.nan]), chance=0.04,
    )  # fmt: skip
    return ExplorerData(
        title="pico </title> & co, token by token", lead="How 8 parts answer.",
        components=tuple(f"blocks.{k // 4}.attn.head.{k % 4}" for k in range(len(frames[0].psi))), tokens=tokens,
        frames=frames, maps=principal_maps(frames), clusters=found if clusters else None,
        notes=("step 400: chains of 1 part are doubtful.",), facts={"n_beta": "30"}, command="susceptometer explore runs/x",
    )  # fmt: skip


def many(count: int, parts: int = 2) -> ExplorerData:
    """Synthetic tokens in rows of 128."""
    rng = np.random.default_rng(0)
    words = np.array([f" w{k}" for k in range(997)], dtype=object)
    place = np.arange(count)
    tokens = TokenFacts(
        words=tuple(words[rng.integers(997, size=count)]), probe=np.where(place < count // 2, "one", "two"),
        row=place // 128, position=place % 128, patterns={"word start": "rule", "other": "none"},
        flags=np.stack([place % 3 == 0, place % 3 != 0]), classes=(place % 3 != 0).astype(int),
    )  # fmt: skip
    psi = rng.normal(size=(parts, count)).astype(np.float32)
    frame = Frame(label="now", psi=psi, error=np.full_like(psi, 0.3), replicates=None, loss=np.ones(count))
    components = tuple(f"blocks.0.attn.head.{k}" for k in range(parts))
    return ExplorerData(
        title="many", lead="", components=components, tokens=tokens, frames=(frame,),
        maps={"pairs 1 and 2": psi[None, :2].transpose(0, 2, 1)},
    )  # fmt: skip
