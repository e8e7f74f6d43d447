"""On one CUDA device: chain-steps per second, the loss kernel and the observable pass against their bounds, a full reading.

    python benchmarks/bench_gpu.py [--out benchmarks/results/gpu.md]
    python benchmarks/bench_gpu.py --rehearse        # tiny shapes on the CPU: checks the script, its times mean nothing

Not run yet where this was written: there was no GPU. Bounds: max(operations / peak, bytes / bandwidth, exponentials / rate) of what the
algorithm needs, peaks from the maker's data sheet (`PEAKS`).
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from pythia_shape import SHAPE
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from susceptometer.compute.options import ReadOptions
from susceptometer.compute.pieces import flop_counter
from susceptometer.compute.read import cost, read
from susceptometer.domains.hf import language_subject
from susceptometer.domains.language import load
from susceptometer.domains.token_text import TextPlan
from susceptometer.posterior.kernel import Readout, losses_and_slopes, token_losses
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling import captured
from susceptometer.sampling.captured import advancing, noise_for
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.moments import ProbeReader
from susceptometer.sampling.noise import GroupBatches
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews


@dataclass(frozen=True)
class Peak:
    """A device: FLOP/s in bfloat16 and float32 (without TF32), bytes/s, exponentials/s."""

    half: float
    single: float
    bytes: float
    exponentials: float


PEAKS = {
    "H100": Peak(989e12, 67e12, 3.35e12, 132 * 16 * 1.755e9),
    "H200": Peak(989e12, 67e12, 4.8e12, 132 * 16 * 1.755e9),
    "A100": Peak(312e12, 19.5e12, 2.0e12, 108 * 16 * 1.41e9),
}
"""Dense peaks; exponentials: 16 per clock of every multiprocessor."""


@dataclass(frozen=True)
class Place:
    """Where and how large: the GPU, or a rehearsal on the CPU."""

    device: str
    words: int
    groups: tuple[int, ...]
    tokens: int
    repeats: int
    peak: Peak | None

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work):
        """Mean seconds after a warm-up."""
        for _ in range(3):
            work()
        self.wait()
        begun = time.perf_counter()
        for _ in range(self.repeats):
            work()
        self.wait()
        return (time.perf_counter() - begun) / self.repeats


def place(rehearse):
    if rehearse:
        return Place("cpu", 320, (1, 2), 256, 2, PEAKS["H100"])
    if not torch.cuda.is_available():
        print("bench_gpu.py needs a CUDA device and there is none here; --rehearse checks the script on the CPU.")
        sys.exit(0)  # `make bench` goes on
    name = torch.cuda.get_device_name()
    return Place("cuda", 50304, (8, 32, 128), 65536, 30, next((p for key, p in PEAKS.items() if key in name), None))


def neox(at, precision="float32", rows=256):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE | {"vocab_size": at.words}))
    text = torch.randint(at.words, (rows, 65), generator=torch.Generator().manual_seed(0))
    return language_subject(model, text, {"base": text[:8]}, name="14M shape", precision=precision).on(at.device)


def pico(at):
    return load("pico", plan=TextPlan(length=129, data_rows=256, base_rows=8)).on(at.device)


def recipe(groups, draws=10):
    return Recipe(
        sampler=LeimkuhlerMatthews(step_size=5e-4), schedule=Schedule(groups=groups, burn_in=10, draws=draws, thin=2),
        n_beta=30.0, gamma=300.0, coupling=coupled(), batch_rows=4,
    )  # fmt: skip


def steps(at):
    """Chain-steps per second: one model at a time in plain PyTorch, the engine eager, the engine recorded."""
    print(
        "\n## Chain-steps per second\n\n| model | head | chains | plain PyTorch | engine | recorded | recorded / plain |\n|---|---|---|---|---|---|---|"
    )
    for subject, head in ((pico(at), "1:3"), (neox(at), "0:0"), (neox(at), "5:0")):
        plain = 1 / at.seconds(lambda subject=subject: raw_step(subject))
        for groups in at.groups:
            how, found = recipe(groups), []
            for recorded in (False, True):
                posterior = LocalPosterior(subject, subject.components[head], how.n_beta, how.gamma)
                noise = noise_for(0, ("bench",), range(groups), coupling=how.coupling, center=posterior.center)
                batches = GroupBatches(posterior, how, seed=0, groups=range(groups))
                before, captured.recorder_for = (
                    captured.recorder_for,
                    captured.recorder_for if recorded else (lambda center: None),
                )
                advance = advancing(posterior, how, batches, noise=noise, chains=4 * groups)
                captured.recorder_for = before
                found.append(4 * groups / at.seconds(lambda advance=advance: advance(1.0)))
            print(
                f"| {subject.name} | {head} | {4 * groups} | {plain:,.0f} | {found[0]:,.0f} | {found[1]:,.0f} | {found[1] / plain:.1f}x |",
                flush=True,
            )


def raw_step(subject):
    """Gradient of all weights of one model on 8 rows by plain PyTorch: what one chain-step costs without an engine."""
    leaves = {name: value.detach().requires_grad_() for name, value in subject.params.items()}
    rows = {"tokens": subject.data["tokens"][:8]}
    subject.loss(leaves, rows).mean().backward()


def bound(at, flop, moved, exponentials, *, half):
    if at.peak is None:
        return float("nan")
    return max(
        flop / (at.peak.half if half else at.peak.single), moved / at.peak.bytes, exponentials / at.peak.exponentials
    )


def kernel(at):
    """Loss and slope of the output layer of the 14M shape."""
    print(
        f"\n## Output layer and loss, {at.tokens:,} tokens x {at.words:,} words, width 128\n\n| precision | way | loss, ms | loss + slope, ms | share of bound |\n|---|---|---|---|---|"
    )
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 128, generator=generator).to(at.device) for n in (at.tokens, at.words))
    weight *= 0.25
    targets = torch.randint(at.words, (at.tokens,), generator=generator).to(at.device)
    leaf = hidden.clone().requires_grad_()
    few = min(at.tokens, 8192)
    plain = (
        at.seconds(
            lambda: torch.autograd.grad(F.cross_entropy(leaf[:few] @ weight.T, targets[:few], reduction="sum"), leaf)
        )
        * at.tokens
        / few
    )
    print(f"| float32 | F.cross_entropy, logits kept | | {1000 * plain:.2f} | |")
    for precision in ("float32", "bfloat16"):
        readout, half = Readout(weight, precision=precision), precision == "bfloat16"
        alone = at.seconds(lambda readout=readout: token_losses(hidden, readout, targets))
        both = at.seconds(lambda readout=readout: losses_and_slopes(hidden, readout, targets))
        least = bound(
            at, 4 * at.tokens * at.words * 128, 4 * 128 * (at.words + 2 * at.tokens), at.tokens * at.words, half=half
        )
        print(f"| {precision} | engine | {1000 * alone:.2f} | {1000 * both:.2f} | {least / both:.0%} |", flush=True)


def observables(at):
    """Losses of many chains on probe tokens, a head of layer 0 of the 14M shape: everything behind it runs."""
    print(
        "\n## Observable pass, 14M shape, head 0:0\n\n| precision | chains x tokens | ms | tokens per s | share of bound |\n|---|---|---|---|---|"
    )
    for precision in ("float32", "bfloat16"):
        subject = neox(at, precision)
        posterior = LocalPosterior(subject, subject.components["0:0"], 30.0, 300.0)
        chains = 4 * at.groups[1]
        reader, weights = ProbeReader(posterior, chains), posterior.center.expand(chains, -1).contiguous()
        count = chains * 8 * posterior.events
        with flop_counter() as counter:
            list(reader.read(weights))
        seconds = at.seconds(lambda reader=reader, weights=weights: list(reader.read(weights)))
        least = bound(at, counter.get_total_flops(), 4 * 14e6, count * at.words, half=precision == "bfloat16")
        print(
            f"| {precision} | {count:,} | {1000 * seconds:.1f} | {count / seconds:,.0f} | {least / seconds:.0%} |",
            flush=True,
        )


def reading(at):
    """32 components of the 14M shape on many tokens: the forecast, one component measured, and the large model extrapolated."""
    tokens = 1000 if at.device == "cpu" else 200_000
    subject = neox(at)
    text = torch.randint(at.words, (tokens // 64, 65), generator=torch.Generator().manual_seed(1)).to(at.device)
    subject = replace(subject, probes={"base": subject.probes["base"], "text": {"tokens": text}})
    parts, how = (
        list(subject.components.match("embed | heads | mlps | unembed")),
        recipe(1, 2 if at.device == "cpu" else 40),
    )
    options = ReadOptions(progress=False)
    expected = cost(subject, parts, recipe=how, seed=0, options=options)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        read(subject, ["3:1"], recipe=how, seed=0, into=folder, options=options)
        one = time.perf_counter() - begun
    print(
        f"\n## Reading of {len(parts)} components, {tokens:,} tokens, 4 chains x {how.schedule.draws} draws\n\nForecast: {expected}. One head measured: {one:.0f} s."
    )
    rate = expected.flop / expected.seconds
    large = 2 * 1.3e9 * 4.25e6 * 410 * 4 * how.schedule.draws
    print(
        f"\nExtrapolated to Pythia-1.4B, 4.25M tokens x 410 components at the same 4 chains x {how.schedule.draws} draws: "
        f"2 x 1.3e9 x 4.25e6 x 410 x 4 x {how.schedule.draws} = {large:.2g} FLOP; half of the layers lie before a component on average; "
        f"at the measured {rate / 1e12:.1f} TFLOP/s: {large / 2 / rate / 3600:,.0f} GPU-hours."
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    at = place(given.rehearse)
    if given.out:
        sys.stdout = given.out.open("w", encoding="utf-8", buffering=1)
    print(
        f"# GPU\n\n`python benchmarks/bench_gpu.py`; {torch.cuda.get_device_name() if at.device == 'cuda' else 'rehearsal on a CPU'}, torch {torch.__version__}"
    )
    for section in (steps, kernel, observables, reading):
        section(at)


if __name__ == "__main__":
    main()
