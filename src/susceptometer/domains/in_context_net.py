"""A small transformer that learns regression in context, and its training: many runs in one batched model."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from susceptometer.domains.in_context import RegressionWorld
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.rng import stream
from susceptometer.types import Batch, Params


@dataclass(frozen=True)
class RegressionNet:
    """Pre-norm transformer on packed tokens: token k is [x_k, x_{k-1}, y_{k-1}] (zeros at k = 1), scalar read-out.

    Args:
        world: Sizes of the data.
        width: Residual width and hidden units of the MLP.
        heads: Attention heads.
        layers: Blocks.
    """

    world: RegressionWorld
    width: int = 64
    heads: int = 4
    layers: int = 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of every weight."""
        wide = self.width
        out: dict[str, tuple[int, ...]] = {
            "embed.weight": (wide, 2 * self.world.dimension + 1), "embed.bias": (wide,),
            "position": (self.world.length, wide),
        }  # fmt: skip
        for i in range(self.layers):
            out |= {f"{i}.norm{n}.{part}": (wide,) for n in (1, 2) for part in ("weight", "bias")}
            out |= {f"{i}.qkv.weight": (3 * wide, wide), f"{i}.out.weight": (wide, wide)}
            out |= {f"{i}.{part}.weight": (wide, wide) for part in ("up", "down")}
            out |= {f"{i}.{part}.bias": (wide,) for part in ("up", "down")}
        return out | {"norm.weight": (wide,), "norm.bias": (wide,), "read.weight": (1, wide), "read.bias": (1,)}

    def initial(self, seed: int) -> Params:
        """Uniform ±1/sqrt(inputs) for matrices and their biases, ones and zeros for norms; float32."""
        params = {}
        for name, shape in self.shapes().items():
            if "norm" in name:
                params[name] = torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
                continue
            inputs = shape[-1] if len(shape) > 1 else self.width
            noise = torch.rand(shape, generator=stream(seed, "regression net", name))
            params[name] = (2 * noise - 1) / inputs**0.5
        return params

    def predictions(self, params: Params, x: Tensor, y: Tensor) -> Tensor:
        """f(S_{<=k}) for every k, ``[rows, K]``, from x ``[rows, K, D]`` and y ``[rows, K]``."""
        past = torch.cat([x, y[..., None]], -1)
        past = F.pad(past[..., :-1, :], (0, 0, 1, 0))
        stream_ = F.linear(torch.cat([x, past], -1), params["embed.weight"], params["embed.bias"]) + params["position"]
        for i in range(self.layers):
            stream_ = stream_ + self._attention(params, i, _norm(params, f"{i}.norm1", stream_))
            stream_ = stream_ + _mlp(params, i, _norm(params, f"{i}.norm2", stream_))
        return F.linear(_norm(params, "norm", stream_), params["read.weight"], params["read.bias"])[..., 0]

    def _attention(self, params: Params, layer: int, x: Tensor) -> Tensor:
        *lead, length, wide = x.shape
        q, k, v = F.linear(x, params[f"{layer}.qkv.weight"]).chunk(3, -1)
        q, k, v = (part.reshape(*lead, length, self.heads, -1).transpose(-3, -2) for part in (q, k, v))
        score = q @ k.mT / (wide // self.heads) ** 0.5
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = score.masked_fill(later, -torch.inf).softmax(-1) @ v
        return F.linear(mixed.transpose(-3, -2).reshape(*lead, length, wide), params[f"{layer}.out.weight"])

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """Squared errors ``[rows, K]`` of a batch with ``x`` and ``y``."""
        return (self.predictions(params, batch["x"], batch["y"]) - batch["y"]) ** 2


def regression_subject(net: RegressionNet, center: Params, x: Tensor, y: Tensor, *, base_rows: int) -> Subject:
    """A trained net on fixed sequences; the first ``base_rows`` rows are also the probe on which the loss is read."""
    data = {"x": x, "y": y}
    base = {name: value[:base_rows] for name, value in data.items()}
    return Subject("regression net", center, net.loss, data, {"base": base}, {"full": whole_component("full", center)})


@dataclass(frozen=True)
class RegressionTraining:
    """Adam on fresh sequences: linear warm-up, constant rate, and, if asked, a linear fall to zero at the end.

    Args:
        rows: Sequences per step and run.
        learning_rate: Peak.
        warm_up: Steps of linear warm-up.
        cool_down: Last steps, over which the rate falls to zero; 0: it stays constant.
    """

    rows: int = 128
    learning_rate: float = 3e-3
    warm_up: int = 500
    cool_down: int = 0

    def rate(self, step: int, last: int) -> float:
        """Learning rate of step ``step`` of a training that ends at ``last``."""
        rising = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        falling = min(1.0, (last - step) / self.cool_down) if self.cool_down else 1.0
        return self.learning_rate * rising * falling


Watch = Callable[[int, dict[str, Tensor]], None]


def train_runs(
    net: RegressionNet,
    runs: Sequence[tuple[int, Tensor | None]],
    how: RegressionTraining,
    *,
    keep: Iterable[int],
    watch: Watch,
    starts: Sequence[Params] | None = None,
) -> None:
    """Train several runs together in one batched model; each run has its own weights, tasks and data stream.

    Args:
        net: The network.
        runs: Seed and task set (None: normal tasks) of every run.
        how: Optimiser and batch.
        keep: Steps at which ``watch`` sees the weights; the last one ends the training.
        watch: Told step and weights ``[runs, ...]``.
        starts: Weights of every run to go on from, with a fresh optimiser; None: new ones by the run's seed.
    """
    starts = [net.initial(seed) for seed, _ in runs] if starts is None else starts
    now = {name: torch.stack([start[name] for start in starts]).requires_grad_(True) for name in starts[0]}
    generators = [stream(seed, "sequences", number) for number, (seed, _) in enumerate(runs)]
    adam = torch.optim.Adam(list(now.values()), lr=how.learning_rate)
    each = torch.func.vmap(net.predictions)
    wanted = sorted(set(keep))
    for step in range(wanted[-1] + 1):
        if step in wanted:
            watch(step, {name: value.detach().clone() for name, value in now.items()})
        adam.param_groups[0]["lr"] = how.rate(step, wanted[-1])
        drawn = [net.world.sequences(how.rows, runs[i][1], generators[i]) for i in range(len(runs))]
        x, y = (torch.stack(part) for part in zip(*drawn, strict=True))
        adam.zero_grad(set_to_none=True)
        ((each(now, x, y) - y) ** 2).mean((1, 2)).sum().backward()
        adam.step()


def _norm(params: Params, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], params[f"{name}.weight"], params[f"{name}.bias"])


def _mlp(params: Params, layer: int, x: Tensor) -> Tensor:
    hidden = F.relu(F.linear(x, params[f"{layer}.up.weight"], params[f"{layer}.up.bias"]))
    return F.linear(hidden, params[f"{layer}.down.weight"], params[f"{layer}.down.bias"])
