"""Regression in context: the two ideal predictors against hand values and identities; the network and its training."""

import pytest
import torch

from susceptometer.domains.in_context import RegressionWorld, discrete, distance, ridge
from susceptometer.domains.in_context_net import RegressionNet, RegressionTraining, regression_subject, train_runs
from susceptometer.errors import DataError

RIDGE_TOKENS = {
    (2, 8, 0.125): (2.125, 1.2753, 0.6516, 0.3905, 0.2802, 0.2282, 0.2002, 0.1836),
    (8, 16, 0.125): (8.125, 7.145, 6.173, 5.212, 4.272, 3.365, 2.522, 1.790, 1.218, 0.8485, 0.6241, 0.4912, 0.4043, 0.3490,
                     0.3103, 0.2833),
    (8, 16, 0.25): (8.25, 7.289, 6.342, 5.415, 4.519, 3.670, 2.896, 2.233, 1.703, 1.324, 1.055, 0.8729, 0.7534, 0.6618,
                    0.5986, 0.5504),
}  # fmt: skip


def test_both_predictors_on_the_hand_fixture():
    tasks = torch.tensor([[1.0, 0], [0, 1], [-1, 1]])
    x = torch.tensor([[[1.0, 0.5], [-0.5, 1], [2, -1]]])
    y = torch.tensor([[0.9, -0.3, 1.7]])
    assert discrete(x, y, tasks, 0.125)[0] == pytest.approx([0.3333333, 0.0319039, 1.9977619], abs=1e-6)
    assert ridge(x, y, 0.125)[0] == pytest.approx([0, 0, 1.4181818], abs=1e-6)


@pytest.mark.parametrize("sizes", RIDGE_TOKENS)
def test_ridge_loss_per_token_on_normal_tasks(sizes):
    world = RegressionWorld(*sizes, seed=0)
    x, y = world.sequences(20_000, None, torch.Generator().manual_seed(1))
    each = (ridge(x, y, world.variance) - y) ** 2
    error = each.std(0) / 20_000**0.5
    exact = torch.tensor(RIDGE_TOKENS[sizes], dtype=torch.float64)
    assert (((each.mean(0) - exact).abs() - 0.003 * exact) / error).max() < 4.5


def test_first_token_losses_are_exact(seed):
    world, generator = RegressionWorld(3, 4, seed=0), torch.Generator().manual_seed(seed)
    tasks = world.tasks(5)
    mean = tasks.mean(0)
    x, y = world.sequences(200_000, tasks, generator)
    for guess, exact in (
        (discrete(x, y, tasks, 0.125), ((tasks - mean) ** 2).sum(1).mean()),
        (ridge(x, y, 0.125), (tasks**2).sum(1).mean()),
    ):
        each = (guess[:, 0] - y[:, 0]) ** 2
        assert float(each.mean()) == pytest.approx(float(exact) + 0.125, abs=5 * float(each.std()) / 200_000**0.5)
    x, y = world.sequences(200_000, None, generator)
    each = (discrete(x, y, tasks, 0.125)[:, 0] - y[:, 0]) ** 2
    assert float(each.mean()) == pytest.approx(0.125 + 3 + float(mean @ mean), abs=5 * float(each.std()) / 200_000**0.5)


def test_the_finite_predictor_is_best_on_its_tasks_and_loss_splits(seed):
    """l(f) = l(dMMSE) + distance(f, dMMSE) for every f that sees the past only, here ridge."""
    world, generator = RegressionWorld(2, 8, seed=0), torch.Generator().manual_seed(seed)
    tasks = world.tasks(6)
    x, y = world.sequences(40_000, tasks, generator)
    best, other = discrete(x, y, tasks, 0.125), ridge(x, y, 0.125)
    gap = ((other - y) ** 2 - (best - y) ** 2 - (other - best) ** 2).mean(1)
    assert abs(float(gap.mean())) < 5 * float(gap.std()) / 200
    assert float(distance(other, best).mean()) > 0.02


def test_many_tasks_make_the_finite_predictor_ridge():
    world = RegressionWorld(2, 6, seed=0)
    x, y = world.sequences(200, None, torch.Generator().manual_seed(0))
    gaps = [float(distance(discrete(x, y, world.tasks(m), 0.125), ridge(x, y, 0.125)).mean()) for m in (8, 512, 6000)]
    assert gaps[0] > 10 * gaps[1] > 10 * gaps[2]


def test_task_sets_are_nested_and_chunks_change_nothing(monkeypatch):
    world = RegressionWorld(2, 5, seed=0)
    assert torch.equal(world.tasks(9)[:4], world.tasks(4))
    x, y = world.sequences(30, None, torch.Generator().manual_seed(0))
    whole = discrete(x, y, world.tasks(50), 0.125)
    monkeypatch.setattr("susceptometer.domains.in_context.CHUNK", 7)
    assert discrete(x, y, world.tasks(50), 0.125) == pytest.approx(whole, abs=1e-12)
    shuffled = world.tasks(50)[torch.randperm(50, generator=torch.Generator().manual_seed(1))]
    assert discrete(x, y, shuffled, 0.125) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("predictor", ["ridge", "discrete", "net"])
def test_no_predictor_looks_ahead(predictor):
    world = RegressionWorld(2, 6, seed=0)
    net = RegressionNet(world, width=16)
    params = net.initial(0)
    predict = {
        "ridge": lambda x, y: ridge(x, y, 0.125), "discrete": lambda x, y: discrete(x, y, world.tasks(5), 0.125),
        "net": lambda x, y: net.predictions(params, x, y),
    }[predictor]  # fmt: skip
    x, y = world.sequences(4, None, torch.Generator().manual_seed(3))
    other_x, other_y = x.clone(), y.clone()
    other_x[:, 4:] += 1
    other_y[:, 3:] += 1
    same = (predict(x, y) - predict(other_x, other_y)).abs().amax(0)
    assert same[:4].max() < 1e-6
    assert same[4] > 1e-4


def test_the_network_has_the_weights_of_the_specification():
    net = RegressionNet(RegressionWorld(2, 8, seed=0))
    assert sum(value.numel() for value in net.initial(0).values()) == pytest.approx(50_945, abs=600)
    subject = regression_subject(
        net, net.initial(0), *net.world.sequences(8, None, torch.Generator().manual_seed(0)), base_rows=4
    )
    assert subject.center_loss(subject.data).shape == (8, 8)


def test_batched_training_is_training_alone_and_learns():
    net, how, seen = RegressionNet(RegressionWorld(2, 4, seed=0), width=16), RegressionTraining(rows=32, warm_up=10), {}
    tasks = net.world.tasks(2)
    train_runs(net, [(0, tasks), (1, None)], how, keep=(0, 5, 150), watch=seen.setdefault)
    alone = {}
    train_runs(net, [(0, tasks)], how, keep=(0, 5), watch=alone.setdefault)
    for name, value in alone[5].items():
        assert seen[5][name][0] == pytest.approx(value[0], abs=2e-5)
    x, y = net.world.sequences(512, tasks, torch.Generator().manual_seed(9))
    losses = [float(net.loss({k: v[0] for k, v in seen[step].items()}, {"x": x, "y": y}).mean()) for step in (0, 150)]
    assert losses[1] < 0.7 * losses[0]


def test_the_rate_rises_stays_and_falls_to_zero():
    how = RegressionTraining(learning_rate=1.0, warm_up=10, cool_down=20)
    assert [how.rate(step, 100) for step in (0, 9, 50, 80, 90, 99)] == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.5, 0.05])
    assert RegressionTraining(learning_rate=1.0, warm_up=0).rate(100, 100) == 1.0


def test_training_goes_on_from_given_weights_with_a_fresh_optimiser():
    net, seen = RegressionNet(RegressionWorld(2, 4, seed=0), width=16), {}
    starts = [net.initial(7), net.initial(8)]
    how = RegressionTraining(rows=8, learning_rate=1e-3, warm_up=0, cool_down=1)
    train_runs(net, [(0, None), (1, None)], how, keep=(0, 1), watch=seen.setdefault, starts=starts)
    for name, value in seen[0].items():
        assert torch.equal(value, torch.stack([start[name] for start in starts]))
    moved = (seen[1]["read.weight"] - seen[0]["read.weight"]).abs()
    assert moved.max() == pytest.approx(1e-3, rel=1e-3), "Adam's first step is the learning rate, whatever the gradient"


def test_bad_worlds_are_refused():
    with pytest.raises(DataError, match="no such regression world"):
        RegressionWorld(0, 8, seed=0)
