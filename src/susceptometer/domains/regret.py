r"""Regret as a loss: policies as subjects, the gradient exact or from stored episodes (elliott2026b).

G(w) = E_levels[V* - V(w)] takes the place of L; n_beta has the unit 1/return and counts levels (exact values) or
episodes (sampled). The same chains, coefficients and errors serve both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from susceptometer.domains.gridworld import GridWorld
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.rng import stream
from susceptometer.types import Batch, Params


@dataclass(frozen=True)
class PolicyNet:
    """tanh network from (cheese, mouse) one-hots to four action logits.

    Args:
        world: The gridworld.
        hidden: Units of each of the two middle layers.
        scale: Standard deviation of initial weights times sqrt(active inputs); small values lengthen plateaus.
    """

    world: GridWorld
    hidden: int = 32
    scale: float = 0.3

    def initial(self, seed: int) -> Params:
        """Normal weights, zero biases; float32."""
        wide = 4 * self.world.width
        middle = self.hidden
        sizes = {"0": (wide, middle, 4), "1": (middle, middle, middle), "2": (middle, 4, middle)}
        params = {}
        for name, (inputs, outputs, fan) in sizes.items():
            noise = torch.randn(outputs, inputs, generator=stream(seed, "policy", name))
            params[f"{name}.weight"] = noise * self.scale / fan**0.5
            params[f"{name}.bias"] = torch.zeros(outputs)
        return params

    def logits(self, params: Params) -> Tensor:
        """Action logits of every (cheese, mouse), ``[cells, cells, 4]``."""
        x = self.world.inputs(params["0.weight"].dtype)
        for name in ("0", "1"):
            x = torch.tanh(x @ params[f"{name}.weight"].mT + params[f"{name}.bias"])
        return x @ params["2.weight"].mT + params["2.bias"]

    def policy(self, params: Params) -> Tensor:
        """Action probabilities ``[cheese, mouse, 4]``."""
        return self.logits(params).softmax(-1)

    def regret(self, params: Params, law: Tensor) -> Tensor:
        """G(w) under a law of levels ``[levels]``: a scalar."""
        regret = self.world.regret(self.policy(params), self.world.levels)
        return law.to(regret.dtype) @ regret


def regret_subject(net: PolicyNet, center: Params, law: Tensor, *, chosen: Tensor | None = None) -> Subject:
    """A policy with its exact regret; one row per level, scaled so that the mean over rows is G.

    Args:
        net: The policy network.
        center: w*.
        law: Probability of every level ``[levels]``.
        chosen: Boolean ``[levels]``: only these levels count, in chain, gradient and estimate; None: all.
    """
    kept = torch.arange(len(law)) if chosen is None else torch.nonzero(chosen)[:, 0]
    kept = kept[law[kept] > 0]
    weight = law[kept] / law[kept].sum() * len(kept)
    levels = net.world.levels[kept]

    def loss(params: Params, batch: Batch) -> Tensor:
        regret = net.world.regret(net.policy(params), levels)
        return (weight.to(regret.dtype) * regret)[batch["level"]]

    data = {"level": torch.arange(len(kept))}
    return Subject("policy", center, loss, data, {"base": data}, {"full": whole_component("full", center)})


@dataclass(frozen=True)
class Episodes:
    """Stored episodes of a behaviour policy, padded to the horizon.

    Args:
        cheese: Cheese cell ``[n]``.
        cells: Mouse cell before every action ``[n, horizon]``.
        actions: Action taken ``[n, horizon]``.
        alive: Whether the step was taken ``[n, horizon]``.
        returns: Discounted return ``[n]``.
    """

    cheese: Tensor
    cells: Tensor
    actions: Tensor
    alive: Tensor
    returns: Tensor

    def log_likelihood(self, log_policy: Tensor) -> Tensor:
        """Sum of log pi(a_t|s_t) over an episode ``[n]``, from ``[cheese, mouse, 4]``; dynamics cancel in ratios."""
        steps = log_policy[self.cheese[:, None], self.cells, self.actions]
        return (steps * self.alive).sum(-1)


def rollouts(
    world: GridWorld, policy: Tensor, law: Tensor, *, count: int, horizon: int, generator: torch.Generator
) -> Episodes:
    """Episodes of a policy ``[cheese, mouse, 4]`` on levels drawn from ``law`` [levels]; reward 1 on arrival.

    Time-outs count as return 0; the missing value is at most discount^horizon.
    """
    level = world.levels[torch.multinomial(law, count, replacement=True, generator=generator)]
    cheese, here = level[:, 0], level[:, 1]
    alive = torch.ones(count, dtype=torch.bool)
    seen, done, steps, returns = [], [], [], torch.zeros(count, dtype=policy.dtype)
    for step in range(horizon):
        action = torch.multinomial(policy[cheese, here], 1, generator=generator)[:, 0]
        seen.append(here)
        done.append(action)
        steps.append(alive)
        there = world.arrivals[here, action]
        returns = returns + (alive & (there == cheese)) * world.discount**step
        alive = alive & (there != cheese)
        here = torch.where(alive, there, here)
    return Episodes(cheese, torch.stack(seen, 1), torch.stack(done, 1), torch.stack(steps, 1), returns)


def episode_subject(net: PolicyNet, center: Params, seen: Episodes, judged: Episodes) -> Subject:
    r"""A policy with its regret from stored episodes of w* itself: the loss of an episode is (1 - rho_w) R.

    rho_w = prod_t pi_w(a_t|s_t)/pi_w*(a_t|s_t) is 1 at w*, so the loss is zero there and its mean is G(w) - G(w*),
    unbiased over episodes. Only for strong localisation: the ratio's variance grows with the distance, and a chain
    lowers the loss of the very episodes it walks on, so that the rise is read on others.

    Args:
        net: The policy network.
        center: w*.
        seen: Episodes of w* that drive the chain.
        judged: Independent episodes of w* on which the rise is read.
    """
    with torch.no_grad():
        log_policy = net.logits(center).log_softmax(-1)
    batches = [{**vars(part), "behaviour": part.log_likelihood(log_policy)} for part in (seen, judged)]

    def loss(params: Params, batch: Batch) -> Tensor:
        part = Episodes(**{name: batch[name] for name in vars(seen)})
        now = part.log_likelihood(net.logits(params).log_softmax(-1))
        return (1 - (now - batch["behaviour"].to(now)).exp()) * part.returns.to(now)

    whole = {"full": whole_component("full", center)}
    return Subject("policy, episodes", center, loss, batches[0], {"base": batches[1]}, whole)


def train_exact(
    net: PolicyNet, starts: Iterable[Params], law: Tensor, *, learning_rate: float, keep: Iterable[int]
) -> list[dict[int, Params]]:
    """Gradient descent on the exact regret, all starts together in one batched model.

    Args:
        net: The network.
        starts: Initial weights of every run.
        law: Training levels ``[levels]``.
        learning_rate: Step length.
        keep: Steps whose weights are kept; the last one ends the training.

    Returns:
        Step to weights, one mapping per run.
    """
    runs = list(starts)
    now = {name: torch.stack([run[name] for run in runs]) for name in runs[0]}
    slope = torch.func.vmap(torch.func.grad(lambda params: net.regret(params, law)))
    kept: list[dict[int, Params]] = [{} for _ in runs]
    wanted = sorted(set(keep))
    for step in range(wanted[-1] + 1):
        if step in wanted:
            for number, one in enumerate(kept):
                one[step] = {name: value[number].clone() for name, value in now.items()}
        grads = slope(now)
        now = {name: value - learning_rate * grads[name] for name, value in now.items()}
    return kept


@dataclass(frozen=True)
class ScoreTraining:
    """On-policy policy gradient with fresh episodes and a baseline per level.

    Args:
        episodes: Episodes per step.
        horizon: Longest episode.
        learning_rate: Step length.
    """

    episodes: int = 256
    horizon: int = 60
    learning_rate: float = 0.1


def train_sampled(
    net: PolicyNet, start: Params, law: Tensor, how: ScoreTraining, *, keep: Iterable[int], seed: int
) -> dict[int, Params]:
    """Policy-gradient training by the score function, -sum_t g^t grad log pi (R_t - b) with b = the exact value."""
    now, kept, wanted = dict(start), {}, sorted(set(keep))
    generator = stream(seed, "score training")
    for step in range(wanted[-1] + 1):
        if step in wanted:
            kept[step] = {name: value.clone() for name, value in now.items()}
        grads = score_gradient(net, now, law, how, generator)
        now = {name: value - how.learning_rate * grads[name] for name, value in now.items()}
    return kept


def score_gradient(
    net: PolicyNet, params: Params, law: Tensor, how: ScoreTraining, generator: torch.Generator
) -> Mapping[str, Tensor]:
    """Unbiased gradient of G from fresh episodes; only the discounted final reward is paid, so R_t = R / g^t."""
    leaves = {name: value.detach().requires_grad_(True) for name, value in params.items()}
    log_policy = net.logits(leaves).log_softmax(-1)
    with torch.no_grad():
        policy = log_policy.exp()
        seen = rollouts(net.world, policy, law, count=how.episodes, horizon=how.horizon, generator=generator)
        pay = net.world.discount ** torch.arange(how.horizon)
        base = net.world.values(policy)[seen.cheese[:, None], seen.cells] * pay
        gain = (seen.returns[:, None] - base) * seen.alive
    chosen = log_policy[seen.cheese[:, None], seen.cells, seen.actions]
    surrogate = -(chosen * gain).sum(-1).mean()
    return dict(zip(leaves, torch.autograd.grad(surrogate, list(leaves.values())), strict=True))
