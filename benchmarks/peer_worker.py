"""Runs devinterp 2.0.1 on one JSON job, inside devinterp's own virtual environment.

Usage: ``python peer_worker.py JOB.json``. No import of susceptometer: models and tokens come in as files
(a folder with safetensors, ``.npy`` int64 tokens), results go out as JSON next to an ``.npz`` of traces.

The clock: devinterp takes the loss as a function, so the wrapper below stamps process CPU time whenever
devinterp calls it. A call with gradients begins a chain step, a call without is an observable.
"""

import json
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

START = time.process_time(), time.perf_counter()
os.environ.setdefault("TQDM_DISABLE", "1")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from devinterp.slt.llc import compute_llc  # noqa: E402
from devinterp.slt.lm_loss import compute_per_token_loss, lm_forward_logits  # noqa: E402
from devinterp.slt.sampling import sample  # noqa: E402
from devinterp.slt.susceptibilities import compute_susceptibilities  # noqa: E402
from devinterp.slt.weight_restrictions import create_param_masks  # noqa: E402
from peer_clock import Clock, peak_megabytes, summary  # noqa: E402
from peer_nets import AttentionOnly, head_masks  # noqa: E402
from peer_toy import run_toy  # noqa: E402

IMPORTED = time.process_time()
OBSERVABLE_SEED = 1337


class Rows(torch.utils.data.Dataset):
    """Rows of an int64 array ``[rows, K]`` as ``{"input_ids": [K]}``: the cheapest data set devinterp takes."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens = torch.from_numpy(np.asarray(tokens, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[row]}


def cross_entropy_loss(model: torch.nn.Module, input_ids: torch.Tensor) -> torch.Tensor:
    """A user's own faster loss: one fused call, logits sliced first; ``[batch, K-1]`` nats."""
    logits = lm_forward_logits(model, input_ids)[:, :-1]
    flat = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), input_ids[:, 1:].reshape(-1), reduction="none"
    )
    return flat.reshape(input_ids.shape[0], -1)


LOSSES = {"devinterp": compute_per_token_loss, "cross_entropy": cross_entropy_loss}


def load(job: dict) -> torch.nn.Module:
    """The model of a job: a Hugging Face folder, or the attention-only net of ``peer_nets``."""
    if job["architecture"] == "attention_only":
        return AttentionOnly.load(job["model"])
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)


def masks_of(model: torch.nn.Module, component: str) -> dict:
    """devinterp's parameter masks for ``full`` or ``l{layer}h{head}``."""
    if component == "full":
        return {name: None for name, _ in model.named_parameters()}
    if isinstance(model, AttentionOnly):
        return head_masks(model, component)
    return create_param_masks(model, component)


def order_of(rows: int) -> list[int]:
    """Probe rows in the order in which devinterp stores them."""
    return random.Random(OBSERVABLE_SEED).sample(range(rows), rows)


def center_losses(model: torch.nn.Module, probe: np.ndarray) -> np.ndarray:
    """Per-token losses at w* ``[rows, K-1]``, evaluated by devinterp's loss in evaluation mode."""
    model.eval()
    with torch.no_grad():
        chunks = [compute_per_token_loss(model, rows) for rows in torch.from_numpy(probe).split(32)]
    return torch.cat(chunks).numpy()


def run_component(model: torch.nn.Module, job: dict, component: str) -> dict:
    """Sample one component; returns devinterp's tree, the trace in probe order and the clock's summary."""
    probe, tokens = np.load(job["probe"]), np.load(job["tokens"])
    clock = Clock(LOSSES[job.get("loss", "devinterp")])
    if len(probe) % job["batch_rows"]:
        raise ValueError("devinterp drops ragged batches: make the probe a multiple of batch_rows")
    folder = Path(tempfile.mkdtemp(prefix="peer-")) / "samples.zarr"
    tree = sample(
        model,
        Rows(tokens),
        {"base": (Rows(probe), len(probe) // job["batch_rows"])},
        lr=job["step_size"],
        n_beta=job["n_beta"],
        localization=job["gamma"],
        param_masks=masks_of(model, component),
        num_chains=job["chains"],
        num_draws=job["draws"],
        num_burnin_steps=job["burn_in"],
        num_steps_bw_draws=job["thin"],
        batch_size=job["batch_rows"],
        num_init_loss_batches=job.get("init_batches", 1),
        init_seed=job["seed"],
        obs_seed=OBSERVABLE_SEED,
        shuffle=True,
        device="cpu",
        match_sampling_input_ids_across_chains=False,
        loss_fn=clock,
        output_path=folder,
    )
    clock.stop()
    order = order_of(len(probe))
    assert np.array_equal(tree["input_ids_base"].values, probe[order]), "unexpected probe order"
    trace = np.empty((job["chains"], job["draws"], len(probe), probe.shape[1] - 1), np.float32)
    trace[:, :, order] = tree["loss_base"].values
    return {"tree": tree, "trace": trace, "cost": summary(clock, job)}


def learning_coefficients(tree, trace: np.ndarray, center: float, job: dict) -> dict:
    """LLC as devinterp defines it, from its steps after burn-in only, and from the draws (conventions 5)."""
    own = compute_llc(tree)
    after = own.loss_trace.values[:, job["burn_in"] :].mean(1) - float(own.init_loss)
    draws = job["n_beta"] * (trace.mean((1, 2, 3), dtype=np.float64) - center)
    return {
        "own_definition": float(own.llc_mean),
        "own_per_chain": own.llc_per_chain.values.tolist(),
        "after_burn_in_per_chain": (job["n_beta"] * after).tolist(),
        "draws_per_chain": draws.tolist(),
        "init_loss": float(own.init_loss),
    }


def run_language(job: dict) -> dict:
    """All components of a language job; writes the traces, returns the report."""
    begin = time.process_time()
    model = load(job)
    report = {"cpu_s": {"model_load": time.process_time() - begin}, "components": {}}
    center = center_losses(model, np.load(job["probe"]))
    report["center_loss"] = float(center.mean(dtype=np.float64))
    trees, traces = {}, {"center": center}
    for component in job["components"]:
        result = run_component(model, job, component)
        trees[component], traces[component] = result["tree"], result["trace"]
        report["components"][component] = {
            "weights": sum(
                int(m.sum()) if m is not None else model.get_parameter(n).numel()
                for n, m in masks_of(model, component).items()
            ),
            "cost": result["cost"],
            "llc": learning_coefficients(result["tree"], result["trace"], report["center_loss"], job),
            "peak_rss_mb_so_far": peak_megabytes(),
        }
    if "full" in trees and len(trees) > 1:
        traces |= own_susceptibilities(trees, len(np.load(job["probe"])))
    if job.get("traces"):
        np.savez(job["traces"], **traces)
    return report


def own_susceptibilities(trees: dict, rows: int) -> dict[str, np.ndarray]:
    """chi by devinterp's own function, back in probe order: ``own_chi_{component} [rows, K-1]``."""
    begin = time.process_time()
    out = compute_susceptibilities(trees, "base", include_sampling_task=True)
    values = out["susceptibilities"]["sus"]
    back = np.argsort(order_of(rows))
    chi = {f"own_chi_{name}": values.values[:, i].reshape(rows, -1)[back] for i, name in enumerate(values.wr.values)}
    chi["own_chi_cpu_s"] = np.array(time.process_time() - begin)
    return chi


def main(path: str) -> None:
    """Run the job and write ``job['report']`` (JSON)."""
    job = json.loads(Path(path).read_text())
    torch.set_num_threads(1)
    report = run_toy(job) if job["kind"] == "toy" else run_language(job)
    report.setdefault("cpu_s", {})["import"] = IMPORTED
    report["cpu_s"]["process"] = time.process_time()
    report["wall_s"] = time.perf_counter() - START[1]
    report["peak_rss_mb"] = peak_megabytes()
    report["torch"] = torch.__version__
    Path(job["report"]).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
