"""How the cost of a reading grows, beside the roofline of this CPU (one thread): probe tokens, chains, components, width.

    python benchmarks/bench_scaling.py [--into benchmarks/results/scaling]

Writes INTO.json, INTO.md and INTO.png. Model: GPTNeoX with 6 layers, 4 heads and 50,304 tokens (Pythia-14M's shape at
width 128), random weights, one head of layer 3, rows of 64 tokens. Bound: the largest of FLOP / (rate of a large matrix
product), bytes / (rate of a large copy) and exponentials / (rate of exp on a tile in cache), all three measured here; the
FLOP, bytes and exponentials are those that the algorithm needs (`needs`), not those that the code happens to do.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.hf import language_subject
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.stages import Minibatch
from susceptometer.sampling.coupling import independent
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD

LAYERS, HEADS, VOCABULARY, CONTEXT, LAYER = 6, 4, 50304, 64, 3
PRECISIONS = ("float32", "bfloat16")


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Least process CPU time of ``work`` after one warm-up."""
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def machine() -> dict[str, float]:
    """FLOP/s of a float32 and of a bfloat16 product, bytes/s of a copy, exponentials/s; one thread."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    halves, big, tile = (a.bfloat16(), b.bfloat16()), torch.empty(1 << 26), torch.randn(504, 512)
    other = torch.zeros_like(big)
    return {
        "float32": 2 * 2048**3 / seconds(lambda: a @ b),
        "bfloat16": 2 * 2048**3 / seconds(lambda: halves[0] @ halves[1]),
        "copy": 2 * 4 * big.numel() / seconds(lambda: other.copy_(big)),
        "exp": 50 * tile.numel() / seconds(lambda: [torch.exp(tile) for _ in range(50)]),
    }


def needs(width: int, tokens: int, passes: int, *, gradient: bool) -> dict[str, float]:
    """FLOP, bytes and exponentials that a head of layer `LAYER` needs for ``tokens`` (all chains).

    Forward: the head itself, the later layers (12 width^2 weights each, causal attention) and the logits. Gradient: the
    same products again towards the hidden states, none towards frozen weights. Bytes: every weight once in
    each of ``passes``, 13 streams of width per token and layer written and read.
    """
    later, ways = LAYERS - 1 - LAYER, 2 if gradient else 1
    head = 2 * 4 * width * width // HEADS + 2 * CONTEXT * width // HEADS
    body = later * (24 * width**2 + 2 * CONTEXT * width) + (3 if gradient else 1) * head
    weights = later * 12 * width**2 + VOCABULARY * width
    return {
        "flop": tokens * (ways * body + ways * 2 * width * VOCABULARY),
        "bytes": 4 * (passes * weights + ways * 2 * 13 * tokens * width * (later + 1)),
        "exp": tokens * VOCABULARY,
    }


def bound(need: dict[str, float], rates: dict[str, float], precision: str) -> float:
    """Seconds below which this CPU cannot do it."""
    return max(need["flop"] / rates[precision], need["bytes"] / rates["copy"], need["exp"] / rates["exp"])


def subject(width: int, rows: int, precision: str = "float32"):
    """A random model of this width on ``rows`` random rows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPTNeoXConfig(
            hidden_size=width, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            intermediate_size=4 * width, vocab_size=VOCABULARY, max_position_embeddings=128,
        )  # fmt: skip
        model = GPTNeoXForCausalLM(config)
        tokens = torch.randint(VOCABULARY, (rows, CONTEXT + 1))
    return language_subject(model, tokens, {"base": tokens}, precision=precision)


def observables(rates: dict[str, float], sizes: list[tuple[int, int]], across: int) -> list[dict]:
    """One draw of one chain at (width, rows); ``across`` says which of the two is the abscissa."""
    points = []
    for size in sizes:
        for precision in PRECISIONS:
            posterior = posterior_of(subject(*size, precision))
            weights = posterior.center[None]
            carry = posterior.data_carry(None)
            spent = seconds(lambda p=posterior, w=weights, c=carry: p.losses(w, c))
            need = needs(size[0], size[1] * CONTEXT, 1, gradient=False)
            x = size[0] if across == 0 else size[1] * CONTEXT
            points.append(point(x, precision, spent, bound(need, rates, precision)))
    return points


def steps(rates: dict[str, float], counts: list[int]) -> list[dict]:
    """One SGLD gradient of some chains, 8 rows each."""
    points = []
    for precision in PRECISIONS:
        posterior = posterior_of(subject(128, 64, precision))
        for chains in counts:
            index = torch.randint(64, (chains, 8), generator=torch.Generator().manual_seed(0))
            batch = Minibatch(None, index, torch.full((chains, 8), 1 / 8))
            weights, carry = posterior.center.expand(chains, -1).clone(), posterior.data_carry(None)
            spent = seconds(lambda p=posterior, w=weights, c=carry, b=batch: p.weighted_gradient(w, c, b))
            need = needs(128, chains * 8 * CONTEXT, -(-chains // 16), gradient=True)
            points.append(point(chains, precision, spent, bound(need, rates, precision)))
    return points


def components(rates: dict[str, float], counts: list[int]) -> list[dict]:
    """A whole reading of some heads through the door: 4 chains, 6 steps, 3 draws of 16 rows."""
    one = subject(128, 16)
    names = [f"blocks.{layer}.attn.head.{head}" for layer in (3, 4, 5, 2) for head in range(HEADS)]
    recipe = Recipe(
        sampler=SGLD(step_size=1e-3), n_beta=30.0, gamma=300.0, coupling=independent(), batch_rows=8,
        schedule=Schedule(groups=4, burn_in=3, draws=3),
    )  # fmt: skip
    points = []
    step, draw = needs(128, 4 * 8 * CONTEXT, 1, gradient=True), needs(128, 4 * 16 * CONTEXT, 1, gradient=False)
    least = 6 * bound(step, rates, "float32") + 3 * bound(draw, rates, "float32")
    for count in counts:
        start = time.process_time()
        with tempfile.TemporaryDirectory() as into:
            read(one, names[:count], recipe=recipe, seed=0, into=into, options=ReadOptions(progress=False))
        points.append(point(count, "float32", time.process_time() - start, count * least))
    return points


def posterior_of(one) -> LocalPosterior:
    """The posterior of head 0 of layer `LAYER`."""
    return LocalPosterior(one, one.components[f"blocks.{LAYER}.attn.head.0"], 30.0, 300.0)


def point(x: int, precision: str, spent: float, least: float) -> dict:
    """One measured cost beside its bound."""
    print(f"  {x} {precision}: {spent:.3f} s, bound {least:.3f} s", flush=True)
    return {"x": x, "precision": precision, "cpu_s": spent, "bound_s": least, "share": least / spent}


def draw(panels: dict[str, list[dict]], path: Path) -> None:
    """One panel per abscissa, measured (solid) and bound (dashed), both axes logarithmic."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(8.2, 6.4), layout="constrained")
    for axis, (title, points) in zip(axes.flat, panels.items(), strict=True):
        for precision, colour in zip(PRECISIONS, ("#1f5a8a", "#b4541a"), strict=True):
            own = [p for p in points if p["precision"] == precision]
            if own:
                x = [p["x"] for p in own]
                axis.loglog(x, [p["cpu_s"] for p in own], "o-", color=colour, label=f"{precision}, measured")
                axis.loglog(x, [p["bound_s"] for p in own], "--", color=colour, label=f"{precision}, bound")
        what, unit = title.split(": ")
        axis.set(title=what, xlabel=unit, ylabel="CPU seconds")
        ticks = sorted({p["x"] for p in points})
        axis.set_xticks(ticks, [f"{x:,}" for x in ticks], minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def table(panels: dict[str, list[dict]], rates: dict[str, float]) -> str:
    """The measured rates and every point as Markdown."""
    lines = [
        "# Scaling beside the roofline, one CPU thread", "",
        ("`python benchmarks/bench_scaling.py`; figure `scaling.png`. CPU seconds of this process. Measured rates: "
        f"{rates['float32'] / 1e9:.0f} GFLOP/s float32, {rates['bfloat16'] / 1e9:.0f} GFLOP/s bfloat16, "
        f"copy {rates['copy'] / 1e9:.1f} GB/s, {rates['exp'] / 1e9:.2f} G exp/s."), "",
        "| what | at | precision | CPU s | bound s | share of the bound |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for title, points in panels.items():
        what, unit = title.split(": ")
        lines += [
            f"| {what} | {p['x']:,} {unit} | {p['precision']} | {p['cpu_s']:.3f} | {p['bound_s']:.3f} | {p['share']:.0%} |"
            for p in points
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write the numbers, the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=Path(__file__).parent / "results" / "scaling")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rates = machine()
    print({name: f"{value:.3g}" for name, value in rates.items()})
    panels = {
        "one draw, one head: probe tokens": observables(
            rates, [(128, rows) for rows in (4, 16, 64, 128)], 1),
        "one step, one head: chains of 8 rows": steps(rates, [1, 2, 4, 8, 16]),
        "a reading, 4 chains: heads": components(rates, [1, 2, 4, 8, 16]),
        "one draw of 1,024 tokens: width": observables(rates, [(w, 16) for w in (64, 128, 256, 512)], 0),
    }  # fmt: skip
    given.into.with_suffix(".json").write_text(json.dumps({"rates": rates, "panels": panels}, indent=1) + "\n")
    given.into.with_suffix(".md").write_text(table(panels, rates))
    draw(panels, given.into.with_suffix(".png"))


if __name__ == "__main__":
    main()
