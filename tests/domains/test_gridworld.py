"""The gridworld's exact values against fixtures, brute force and symmetry; the environment; regret subjects."""

import numpy as np
import pytest
import torch

from susceptometer.domains.gridworld import (
    GridWorld,
    corner_policy,
    seeking_policy,
    shortest_corner_policy,
    uniform_policy,
    wall_policy,
)
from susceptometer.domains.regret import (
    PolicyNet,
    ScoreTraining,
    episode_subject,
    regret_subject,
    rollouts,
    score_gradient,
    train_exact,
)
from susceptometer.errors import DataError

FIXTURES = {
    uniform_policy: {3: (0.544447, 0.495826), 5: (0.608393, 0.603182), 7: (0.545785, 0.592171)},
    corner_policy: {3: (0.110831, 0.690335), 5: (0.133277, 0.666559), 7: (0.139077, 0.614017)},
    shortest_corner_policy: {3: (0, 0.590473), 5: (0, 0.634464), 7: (0, 0.597592)},
    wall_policy: {3: (0, 0.673847), 5: (0, 0.655770), 7: (0, 0.606224)},
}
OPTIMAL = {3: (0.881125, 0.903833), 5: (0.730085, 0.792940), 7: (0.606885, 0.698837)}


def mixed(world, policy, mix):
    return float(world.law(mix) @ world.regret(policy, world.levels))


@pytest.mark.parametrize("width", [3, 5, 7])
@pytest.mark.parametrize("make", FIXTURES)
def test_regret_of_known_policies(make, width):
    world = GridWorld(width)
    policy = make(world)
    assert [mixed(world, policy, mix) for mix in (0.0, 1.0)] == pytest.approx(FIXTURES[make][width], abs=1e-6)


@pytest.mark.parametrize("width", [3, 5, 7])
def test_optimal_values_and_the_policy_that_reaches_them(width):
    world = GridWorld(width)
    best = [float(world.law(mix) @ world.optimal(world.levels)) for mix in (0.0, 1.0)]
    assert best == pytest.approx(OPTIMAL[width], abs=1e-6)
    assert world.regret(seeking_policy(world), world.levels).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("make", "exact"), [(uniform_policy, 0.607872), (corner_policy, 0.186605), (wall_policy, 0.065577)]
)
def test_mixed_levels(make, exact):
    assert mixed(GridWorld(5), make(GridWorld(5)), 0.1) == pytest.approx(exact, abs=1e-6)


def test_values_are_those_of_long_rollouts(seed):
    world = GridWorld(3)
    policy = torch.rand(9, 9, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    policy /= policy.sum(-1, keepdim=True)
    value = world.values(policy)
    for cheese in range(9):
        alive = torch.eye(9, dtype=torch.float64)
        alive[cheese, cheese] = 0
        total = torch.zeros(9, dtype=torch.float64)
        walk = torch.zeros(9, 9, dtype=torch.float64)
        for action in range(4):
            walk[torch.arange(9), world.arrivals[:, action]] += policy[cheese, :, action]
        for step in range(400):
            alive = alive @ walk
            total += 0.9**step * alive[:, cheese]
            alive[:, cheese] = 0
        assert value[cheese] == pytest.approx(total, abs=1e-10)


def test_mirroring_the_grid_and_the_actions_changes_no_regret(seed):
    world = GridWorld(4)
    policy = torch.rand(16, 16, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(-1)
    turn = torch.arange(16).reshape(4, 4).T.reshape(-1)  # transpose: up and left, down and right change places
    mirrored = policy[turn][:, turn][..., [1, 0, 3, 2]]
    assert mixed(world, mirrored, 0.3) == pytest.approx(mixed(world, policy, 0.3), abs=1e-12)


def test_the_mean_over_a_partition_is_the_whole():
    world, policy = GridWorld(5), uniform_policy(GridWorld(5))
    law, regret = world.law(0.1), world.regret(uniform_policy(world), world.levels)
    near = world.distances[world.levels[:, 0], world.levels[:, 1]] < 4
    parts = [(law[s].sum(), (law[s] @ regret[s]) / law[s].sum()) for s in (near, ~near)]
    assert sum(float(w * g) for w, g in parts) == pytest.approx(mixed(world, policy, 0.1), abs=1e-12)


def test_bad_worlds_are_refused():
    with pytest.raises(DataError, match="no such gridworld"):
        GridWorld(1)
    with pytest.raises(DataError, match="no probability"):
        GridWorld(5).law(1.5)
    assert float(GridWorld(5).law(0.1).sum()) == pytest.approx(1)
    assert np.isclose(float(GridWorld(5).law(0.0)[GridWorld(5).levels[:, 0] != 0].sum()), 0)


def test_exact_gradient_is_that_of_finite_differences(seed):
    net = PolicyNet(GridWorld(3), hidden=4, scale=1.0)
    params = {name: value.double() for name, value in net.initial(seed).items()}
    law = net.world.law(0.4)
    found = torch.func.grad(lambda p: net.regret(p, law))(params)
    draw = torch.Generator().manual_seed(seed)
    for name, value in params.items():
        way = torch.randn(value.shape, generator=draw, dtype=torch.float64)
        up, down = ({**params, name: value + sign * 1e-5 * way} for sign in (1, -1))
        slope = float(net.regret(up, law) - net.regret(down, law)) / 2e-5
        assert slope == pytest.approx(float((found[name] * way).sum()), abs=1e-8)


def test_the_subject_has_the_regret_and_the_subset_another(seed):
    net = PolicyNet(GridWorld(4), hidden=6)
    center = net.initial(seed)
    law = net.world.law(0.3)
    subject = regret_subject(net, center, law)
    assert float(subject.center_loss(subject.data).mean()) == pytest.approx(float(net.regret(center, law)), abs=1e-6)
    corner = net.world.levels[:, 0] == 0
    only = regret_subject(net, center, law, chosen=corner)
    assert len(only.data["level"]) == 15
    assert float(only.center_loss(only.data).mean()) == pytest.approx(
        float(net.regret(center, net.world.law(0.0))), abs=1e-6
    )


def test_batched_training_is_training_alone():
    net = PolicyNet(GridWorld(3), hidden=5)
    law, starts = net.world.law(0.2), [net.initial(s) for s in (0, 1)]
    together = train_exact(net, starts, law, learning_rate=0.1, keep=(0, 20))
    alone = train_exact(net, starts[1:], law, learning_rate=0.1, keep=(0, 20))
    for name, value in alone[0][20].items():
        assert together[1][20][name] == pytest.approx(value, abs=1e-6)
    assert float(net.regret(alone[0][20], law)) < float(net.regret(alone[0][0], law))


def test_the_score_gradient_is_unbiased(seed):
    net = PolicyNet(GridWorld(3), hidden=4, scale=1.0)
    params, law = net.initial(1), net.world.law(0.5)
    exact = torch.func.grad(lambda p: net.regret(p, law))(params)
    how, generator = ScoreTraining(episodes=512, horizon=90), torch.Generator().manual_seed(seed)
    draws = [score_gradient(net, params, law, how, generator) for _ in range(60)]
    for name, value in exact.items():
        many = torch.stack([draw[name] for draw in draws])
        error = many.std(0) / 60**0.5 + 1e-5
        assert float(((many.mean(0) - value) / error).abs().max()) < 5.5


def test_episodes_give_the_regret_of_nearby_policies(seed):
    net = PolicyNet(GridWorld(3), hidden=4, scale=1.0)
    center, law = net.initial(2), net.world.law(0.5)
    generator = torch.Generator().manual_seed(seed)
    near = {name: value + 0.05 * torch.randn(value.shape, generator=generator) for name, value in center.items()}
    exact = float(net.regret(near, law) - net.regret(center, law))
    episodes = rollouts(net.world, net.policy(center), law, count=60_000, horizon=90, generator=generator)
    subject = episode_subject(net, center, episodes, episodes)
    assert float(subject.center_loss(subject.data).abs().max()) < 1e-5
    each = subject.loss(near, subject.data)
    assert abs(float(each.mean()) - exact) < 5 * float(each.std()) / 60_000**0.5 + 1e-4
    mean = float(episodes.returns.mean())
    optimal = float(law @ net.world.optimal(net.world.levels))
    assert optimal - mean == pytest.approx(float(net.regret(center, law)), abs=5 * float(episodes.returns.std()) / 245)


def test_the_environment_keeps_the_gymnasium_contract(seed):
    gymnasium = pytest.importorskip("gymnasium")
    from gymnasium.utils.env_checker import check_env

    from susceptometer.domains.gridworld_env import CornerCheese

    env = CornerCheese(4, mix=0.5)
    check_env(env, skip_render_check=True)
    assert isinstance(env, gymnasium.Env)
    world, draw = env.world, np.random.default_rng(seed)
    board, facts = env.reset(seed=1, options={"level": (0, 5)})
    assert board.sum() == 2
    assert env.render().splitlines()[1] == ".m.."
    assert facts["optimal_value"] == pytest.approx(0.9)
    env.step(0)
    _, reward, done, _, _ = env.step(1)
    assert (reward, done) == (1.0, True)
    here = env.reset(seed=2)[1]["level"]
    for _ in range(30):
        action = int(draw.integers(4))
        here = (here[0], int(world.arrivals[here[1], action]))
        _, _, done, _, facts = env.step(action)
        assert facts["level"] == here
        if done:
            break
