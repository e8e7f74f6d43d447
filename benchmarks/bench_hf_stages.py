"""CPU seconds of one chain-step on a Pythia-14M shape: raw PyTorch against the staged engine, one thread.

    python benchmarks/bench_hf_stages.py [rows] [context] [chains]

raw: forward and backward of the whole model with F.cross_entropy, all weights requiring gradient.
step: gradient of a head's weights from a cached prefix. observable: losses without gradient.
"""

import sys
import time

import torch
import torch.nn.functional as F
from pythia_shape import SHAPE
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from susceptometer.domains.hf_components import hf_components
from susceptometer.domains.hf_model import skeleton
from susceptometer.domains.hf_stages import HFStages


def seconds(work, repeats=5):
    """Smallest CPU time of ``work``; once before to warm up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def raw_step(model, tokens):
    model.zero_grad(set_to_none=True)
    logits = model(input_ids=tokens, use_cache=False).logits
    F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1)).backward()


def raw_observable(model, tokens):
    with torch.no_grad():
        logits = model(input_ids=tokens, use_cache=False).logits
        F.cross_entropy(
            logits[:, :-1].reshape(-1, logits.shape[-1]),
            tokens[:, 1:].reshape(-1),
            reduction="none",
        )


def main():
    torch.set_num_threads(1)
    rows, context, chains = (int(x) for x in (sys.argv[1:] + ["32", "64", "1"][len(sys.argv) - 1 :]))
    torch.manual_seed(0)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE))
    tokens = torch.randint(50304, (rows, context))
    raw, look = (
        seconds(lambda: raw_step(model, tokens)),
        seconds(lambda: raw_observable(model, tokens)),
    )
    print(f"{rows} x {context} tokens; raw step {raw:.3f} s, raw observable {look:.3f} s")
    twin = skeleton(model)
    components = hf_components(twin)
    params = dict(twin.named_parameters())
    print("| precision | component | step, s per chain | / raw | observable | / raw |\n|---|---|---|---|---|---|")
    for precision in ("float32", "mixed", "bfloat16"):
        stages = HFStages(twin, precision)
        for name in ("0:0", "5:0", "0:mlp", "5:mlp", "unembed", "all"):
            component = components[name]
            if not stages.serves(component):
                print("not served", name, stages.refused)
                continue
            carry = stages.prefix(component, {"tokens": tokens})
            weights = component.gather(params).expand(chains, -1).clone().requires_grad_()

            def step():
                torch.autograd.grad(stages.losses(component, weights, carry, None).mean((1, 2)).sum(), weights)

            def observe():
                with torch.no_grad():
                    stages.losses(component, weights, carry, None)

            a, b = seconds(step, 3) / chains, seconds(observe, 3) / chains
            print(
                f"| {precision} | {name} | {a:.3f} | {a / raw:.2f} | {b:.3f} | {b / look:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
