"""Matrix products in float32, mixed and bfloat16: CPU seconds of one chain, and the error of what is read.

    python benchmarks/bench_precision.py [--models pico] [--into benchmarks/results/precision.md]

Chains stand where a chain of gamma 300 stands (0.058 per weight from w*; all weights: 0.006). step: gradient on 8 rows of
64 tokens; draw: losses of 32 (pico) or 64 (14M shape) such rows. Errors against float32 at the same weights: rms of a
token's loss rise l(w) - l(w*), largest error of g among the chains, relative error of the gradient.
"""

import argparse
import tempfile
import time
from pathlib import Path

import peer_models
import peer_subjects
import torch

from susceptometer.domains.hf import language_subject
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.products import PRECISIONS, reduced_products_help
from susceptometer.posterior.stages import Minibatch

CHAINS = {"pico": 12, "14M shape": 2}
PARTS = {"pico": ("l0h0", "l1h2", "all"), "14M shape": ("l0h0", "l5h0", "all")}


def subject(name: str, folder: Path, precision: str):
    """The model as the peer benchmark reads it."""
    if name == "pico":
        path, rows = peer_models.pico(folder, rows=32)
        text = torch.from_numpy(rows)
        return peer_subjects.attention_only(path, text, text, precision)
    random = torch.from_numpy(peer_models.zipf_tokens(64, 50304, seed=1))
    return language_subject(str(peer_models.pythia_shape(folder)), random, {"base": random}, precision=precision)


def seconds(work) -> float:
    """Least process CPU time of three after a warm-up."""
    work()
    found = []
    for _ in range(3):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def measured(one, part: str, chains: int) -> dict:
    """Seconds per chain of a step and of a draw, the gradient, and the loss rises."""
    posterior = LocalPosterior(one, one.components[part], 30.0, 300.0)
    generator = torch.Generator().manual_seed(0)
    kick = torch.randn(chains, len(posterior.center), generator=generator)
    weights = posterior.center + kick * (0.006 if part == "all" else 0.058)
    rows = len(one.data["tokens"])
    index = torch.randint(rows, (chains, 8), generator=generator)
    batch, carry = Minibatch(None, index, torch.full((chains, 8), 1 / 8)), posterior.data_carry(None)
    gradient = posterior.weighted_gradient(weights, carry, batch)[1]
    rise = posterior.losses(weights, carry) - posterior.losses(posterior.center[None], carry)
    return {
        "gradient": gradient, "rise": rise.flatten(1),
        "step": seconds(lambda: posterior.weighted_gradient(weights, carry, batch)) / chains,
        "draw": seconds(lambda: posterior.losses(weights, carry)) / chains,
    }  # fmt: skip


def row(name: str, part: str, precision: str, now: dict, exact: dict) -> str:
    """One line of the table."""
    error, g_error = now["rise"] - exact["rise"], now["rise"].mean(1) - exact["rise"].mean(1)
    relative = float((now["gradient"] - exact["gradient"]).norm() / exact["gradient"].norm())
    rms = [float(value.square().mean().sqrt()) for value in (error, exact["rise"])]
    cells = [
        f"{name} {part}", precision, f"{now['step'] * 1e3:.1f}", f"{now['draw'] * 1e3:.1f}",
        f"{relative:.1g}", f"{rms[0]:.1g} of {rms[1]:.2g}",
        f"{float(g_error.abs().max()):.1g} of {float(exact['rise'].mean(1).abs().mean()):.2g}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure every precision of every part, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--into", type=Path, default=Path(__file__).parent / "results" / "precision.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Precision of matrix products: cost and error", "",
        "`python benchmarks/bench_precision.py`; one thread, process CPU time. This CPU "
        + ("multiplies" if reduced_products_help() else "does not multiply") + " bfloat16 matrices itself.", "",
        ("| part | products | step, ms | draw, ms | gradient, relative error | loss rise of a token, rms error, nats "
        "| g, largest error, nats |"), "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in given.models:
        with tempfile.TemporaryDirectory() as folder:
            kinds = {precision: subject(name, Path(folder), precision) for precision in PRECISIONS}
        for part in PARTS[name]:
            exact = None
            for precision in PRECISIONS:
                now = measured(kinds[precision], part, CHAINS[name])
                exact = exact or now
                lines.append(row(name, part, precision, now, exact))
                print(lines[-1], flush=True)
    given.into.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
