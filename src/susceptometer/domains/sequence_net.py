"""A small network that learns a spin source: signs in, tanh layer, one logit per output; loss exact over contexts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from susceptometer.rng import stream
from susceptometer.structure.modes import Modes
from susceptometer.testbed.form import Array
from susceptometer.testbed.sequence_source import SequenceSource, sign_table
from susceptometer.types import Params


@dataclass(frozen=True)
class SignNet:
    """``spins`` signs -> ``hidden`` tanh units -> 2^spins logits; float64.

    Args:
        spins: Number m of input signs.
        hidden: Units of the middle layer.
    """

    spins: int = 3
    hidden: int = 6

    def initial(self, seed: int) -> Params:
        """Normal weights of variance 1/inputs, zero biases."""
        sizes = {"in.weight": (self.hidden, self.spins), "out.weight": (2**self.spins, self.hidden)}
        params = {}
        for name, shape in sizes.items():
            noise = torch.randn(shape, generator=stream(seed, "sign net", name), dtype=torch.float64)
            params[name] = noise / shape[1] ** 0.5
            params[name.replace("weight", "bias")] = torch.zeros(shape[0], dtype=torch.float64)
        return params

    def log_law(self, params: Params) -> Tensor:
        """log p(y|x) ``[2^m, 2^m]``, contexts in the order of ``sequence_source.spins``."""
        signs = torch.tensor(sign_table(self.spins), dtype=params["in.weight"].dtype)
        middle = torch.tanh(signs @ params["in.weight"].mT + params["in.bias"])
        return torch.log_softmax(middle @ params["out.weight"].mT + params["out.bias"], -1)


def population_loss(log_law: Tensor, labels: Array, weights: Array) -> Tensor:
    """L = -sum_x q(x) sum_y C(x)_y log p(y|x), a scalar in nats."""
    return -(torch.as_tensor(labels * weights[:, None]) * log_law).sum()


def descend(
    net: SignNet, start: Params, target: tuple[Array, Array], *, learning_rate: float, keep: Iterable[int]
) -> dict[int, Params]:
    """Plain gradient descent on the population loss.

    Args:
        net: The network.
        start: Weights at step 0.
        target: Labels C(x)_y and weights q(x).
        learning_rate: Step length.
        keep: Steps whose weights are kept; the last one ends the run.

    Returns:
        Step to weights.
    """
    params = {name: value.clone() for name, value in start.items()}
    kept, wanted = {}, sorted(set(keep))
    for step in range(wanted[-1] + 1):
        if step in wanted:
            kept[step] = {name: value.clone() for name, value in params.items()}
        for value in params.values():
            value.requires_grad_(True)
        slopes = torch.autograd.grad(population_loss(net.log_law(params), *target), list(params.values()))
        moved = zip(params.items(), slopes, strict=True)
        params = {name: (value - learning_rate * slope).detach() for (name, value), slope in moved}
    return kept


def minimised(net: SignNet, start: Params, target: tuple[Array, Array], *, most: int = 4000) -> Params:
    """The nearest minimum by at most ``most`` steps of L-BFGS in float64."""

    def both(flat: Array) -> tuple[float, Array]:
        leaf = torch.tensor(flat, requires_grad=True)
        value = population_loss(net.log_law(unflat(leaf, start)), *target)
        (slope,) = torch.autograd.grad(value, leaf)
        return float(value.detach()), slope.numpy()

    settings = {"maxiter": most, "maxfun": 2 * most, "ftol": 1e-16, "gtol": 1e-11, "maxcor": 40}
    found = optimize.minimize(both, flat_weights(start).numpy(), jac=True, method="L-BFGS-B", options=settings)
    return unflat(torch.tensor(found.x), start)


def flat_weights(params: Params) -> Tensor:
    """All weights as one vector ``[d]``, in the order of names."""
    return torch.cat([value.reshape(-1) for value in params.values()])


def unflat(flat: Tensor, like: Params) -> Params:
    """The inverse of ``flat_weights``; differentiable."""
    parts = flat.split([value.numel() for value in like.values()])
    return {name: part.view(value.shape) for part, (name, value) in zip(parts, like.items(), strict=True)}


def derivatives(function: Callable[[Params], Tensor], at: Params) -> tuple[Array, Array]:
    """Gradient ``[d]`` and Hessian ``[d, d]`` of a scalar function of the weights."""
    flat = flat_weights(at)

    def scalar(x: Tensor) -> Tensor:
        return function(unflat(x, at))

    return torch.func.grad(scalar)(flat).numpy(), torch.func.hessian(scalar)(flat).numpy()


def mode_slopes(net: SignNet, at: Params, source: SequenceSource, found: Modes) -> tuple[Array, Array]:
    """s_a c_a and the curvature of L along that gradient, ``[r]`` each (c_a = |grad <e_a, log p_w>|).

    One derivative of the projected loss per mode; curvature g'Hg/|g|² of the loss under the whole law.
    """
    _, bend = derivatives(lambda p: population_loss(net.log_law(p), source.conditional, source.weights), at)
    slopes, curvatures = [], []
    left, right = found.factors(found.rank)
    for a in range(found.rank):
        labels = source.conditional @ np.outer(right[:, a], left[:, a])
        slope = _slope(net, at, (labels, source.weights))
        size = float(np.linalg.norm(slope))
        slopes.append(size)
        curvatures.append(float(slope @ bend @ slope) / max(size**2, 1e-300))
    return np.array(slopes), np.array(curvatures)


def _slope(net: SignNet, at: Params, target: tuple[Array, Array]) -> Array:
    def scalar(flat: Tensor) -> Tensor:
        return population_loss(net.log_law(unflat(flat, at)), *target)

    return torch.func.grad(scalar)(flat_weights(at)).numpy()
