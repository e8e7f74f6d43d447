"""Peak memory of readings: flat in draws, linear in tokens, far below 8 GiB at a million tokens and 32 components.

    python benchmarks/bench_memory.py [row ...]      # writes benchmarks/results/memory.md

Every row is a fresh process with one thread; peak: its largest resident size (getrusage), base: after importing. "32 heads" is a
2-layer transformer of width 16 with 16 heads a layer and 256 words: of language shape and cheap, since a million tokens times 32
components are read. Moments: sums over draws held while a cell runs. Prefixes: frozen prefixes of the probes, in memory up
to the budget, else in a mapped file.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from susceptometer.compute.cells import Order, missing_work
from susceptometer.compute.forecast import _moment_bytes, cell_sizes
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.compute.store import open_run
from susceptometer.domains.language import load
from susceptometer.domains.token_text import TextPlan
from susceptometer.domains.transformer import TransformerConfig, init_params, loss, shapes
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.posterior.prefix import Spilled
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import antithetic, independent
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD

RESULTS = Path(__file__).parent / "results"
CONFIG = TransformerConfig(layers=2, d_model=16, heads=16, context=32, vocabulary=256)
MIB = 1 << 20


def rows(count, length, words):
    return torch.randint(words, (count, length), generator=torch.Generator().manual_seed(0))


def cheap(tokens):
    """Heads of a small transformer and so many probe tokens."""
    params = init_params(CONFIG, seed=0)
    text = rows(tokens // 32, 33, 256)
    probes = {"base": {"tokens": text[:64]}, "text": {"tokens": text[64:]}}
    return Subject(
        "32 heads", params, partial(loss, config=CONFIG), {"tokens": text[:128]}, probes,
        transformer_components(shapes(CONFIG)), stages=TransformerStages(params, CONFIG),
    )  # fmt: skip


def pico(tokens):
    one = load("pico", plan=TextPlan(length=129, data_rows=64, base_rows=8))
    return replace(one, probes={"base": one.probes["base"], "text": {"tokens": rows(tokens // 128 - 8, 129, 1536)}})


ROWS = {
    "32 heads, 20k tokens, 2 draws": (cheap, 20_480, 32, 2, 1 << 30),
    "8 heads, 20k tokens, 2 draws": (cheap, 20_480, 8, 2, 1 << 30),
    "8 heads, 20k tokens, 20 draws": (cheap, 20_480, 8, 20, 1 << 30),
    "32 heads, 20k tokens, 20 draws": (cheap, 20_480, 32, 20, 1 << 30),
    "4 heads, 250k tokens, 2 draws": (cheap, 250_000, 4, 2, 1 << 30),
    "4 heads, 500k tokens, 2 draws": (cheap, 500_000, 4, 2, 1 << 30),
    "4 heads, 1M tokens, 2 draws": (cheap, 1_000_000, 4, 2, 1 << 30),
    "4 heads, 1M tokens, prefixes on disk": (cheap, 1_000_000, 4, 2, 0),
    "32 heads, 1M tokens, 2 draws": (cheap, 1_000_000, 32, 2, 1 << 30),
    "pico, 1 head, 1M tokens, 1 draw, prefixes on disk": (pico, 1_000_000, 1, 1, 256 * MIB),
}


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(name):
    """One row, in this process."""
    torch.set_num_threads(1)
    make, tokens, heads, draws, budget = ROWS[name]
    base, spilled, plain = peak(), [], Spilled.__init__
    Spilled.__init__ = lambda self, *given: plain(self, *given) or spilled.append(self._file.tell())
    subject = make(tokens)
    names = list(subject.components.match("blocks.*.attn.head.*"))[-heads:]
    how = Recipe(
        sampler=SGLD(step_size=1e-4), schedule=Schedule(groups=1, burn_in=1, draws=draws), n_beta=10.0, gamma=100.0,
        coupling=antithetic() if make is cheap else independent(), batch_rows=4,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        read(subject, names, recipe=how, seed=0, into=folder, options=ReadOptions(progress=False, prefix_bytes=budget))
        spent = time.process_time() - begun
        card = open_run(Path(folder))
        order = Order(Path(folder), card, subject, {part: subject.components[part] for part in names})
        stored = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        sizes = cell_sizes(order, missing_work(card, [])[0])
    return {
        "name": name, "tokens": sizes["token"], "heads": heads, "chains": sizes["member"], "draws": draws, "base": base, "peak": peak(),
        "moments": _moment_bytes(order, sizes), "spilled": sum(spilled), "stored": stored, "cpu": spent,
    }  # fmt: skip


def table(found):
    lines = [
        "| reading | chains | peak, MiB | of it base | peak - base | moments, MiB | prefixes in file, MiB | run folder, MiB | CPU, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        grown = row["peak"] - row["base"]
        sizes = [row["peak"], row["base"], grown, row["moments"], row["spilled"], row["stored"]]
        lines.append(
            f"| {row['name']} | {row['chains']} | "
            + " | ".join(f"{size / MIB:,.0f}" for size in sizes)
            + f" | {row['cpu']:.0f} |"
        )
    return "\n".join(lines)


def main():
    chosen = sys.argv[1:] or list(ROWS)
    if chosen[0] == "--one":
        print(json.dumps(measure(chosen[1])))
        return
    file, found = RESULTS / "memory.json", {}
    if file.exists():
        found = {row["name"]: row for row in json.loads(file.read_text())}
    for name in chosen:
        done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        file.write_text(json.dumps(list(found.values()), indent=1))
        ordered = [found[name] for name in ROWS if name in found]
        (RESULTS / "memory.md").write_text(
            "# Peak memory\n\n`python benchmarks/bench_memory.py`\n\n" + table(ordered) + "\n"
        )
        print(table([found[name]]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
