"""Would one pass for several heads of a layer be cheaper than one pass each? CPU seconds, one thread.

    python benchmarks/bench_fold.py

Four heads of one layer with the same frozen prefix: four passes of C chains against one pass of 4 C chains (the arithmetic
of a folded pass: the frozen matrices see four times the rows, every head's own weights are batched as before). Observable: without
gradient. Step: with the gradient of the heads' weights. The engine cuts passes at 32,768 observed and 8,192 differentiated
chain-tokens anyway, so above that a folded pass is the same work.
"""

import time
from functools import partial

import torch
from pythia_shape import SHAPE
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from susceptometer.domains.hf_components import hf_components
from susceptometer.domains.hf_model import skeleton
from susceptometer.domains.hf_stages import HFStages
from susceptometer.domains.pico import making_of
from susceptometer.domains.transformer import init_params, shapes
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages

HEADS = 4


def seconds(work, budget=1.0):
    """Median CPU seconds of a few repeats."""
    work()
    found, begun = [], time.process_time()
    while len(found) < 3 or time.process_time() - begun < budget:
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return sorted(found)[len(found) // 2]


def observe(stages, component, weights, carry):
    with torch.no_grad():
        stages.losses(component, weights, carry, None)


def step(stages, component, weights, carry):
    leaf = weights.detach().requires_grad_()
    torch.autograd.grad(stages.losses(component, leaf, carry, None).sum(), leaf)


def row(name, stages, component, center, tokens, chains):
    carry = stages.prefix(component, {"tokens": tokens})
    out = [name, f"{chains} x {tokens.shape[0]} x {tokens.shape[1] - 1}"]
    for work in (observe, step):
        one, many = (
            partial(work, stages, component, center.expand(n, -1).clone(), carry) for n in (chains, HEADS * chains)
        )
        alone, folded = HEADS * seconds(one), seconds(many)
        out += [f"{1000 * alone:.1f}", f"{1000 * folded:.1f}", f"{alone / folded - 1:+.0%}"]
    print("| " + " | ".join(out) + " |", flush=True)


def main():
    torch.set_num_threads(1)
    config = making_of("pico").config
    params = init_params(config, seed=0)
    pico, parts = TransformerStages(params, config), transformer_components(shapes(config))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        twin = skeleton(GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE)))
    neox, large = HFStages(twin), hf_components(twin)
    weights = dict(twin.named_parameters())
    print(
        "| model, head | chains x rows x tokens | observable, 4 passes, ms | 1 pass, ms | gain | step, 4 passes, ms | 1 pass, ms | gain |"
    )
    print("|---|---|---|---|---|---|---|---|")
    generator = torch.Generator().manual_seed(0)
    for chains, rows, length in ((1, 1, 65), (4, 4, 65), (4, 8, 129), (16, 4, 129)):
        tokens = torch.randint(config.vocabulary, (rows, length), generator=generator)
        for name in ("0:3", "1:3"):
            component = parts[name]
            row(f"pico {name}", pico, component, component.gather(params), tokens, chains)
    for chains, rows, length in ((1, 1, 65), (4, 2, 65)):
        tokens = torch.randint(50304, (rows, length), generator=generator)
        for name in ("0:0", "5:0"):
            component = large[name]
            row(f"14M shape {name}", neox, component, component.gather(weights), tokens, chains)


if __name__ == "__main__":
    main()
