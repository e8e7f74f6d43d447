"""The batched classifiers against single ones and against a plain transformer, their data, and what counts as learned."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from susceptometer.domains.parentheses import PAD, Task, agreed, encoded
from susceptometer.domains.parentheses_model import (
    ClassifierConfig,
    class_logits,
    class_losses,
    fresh_classifier,
    weight_shapes,
)
from susceptometer.domains.parentheses_training import (
    Behaviour,
    Dosing,
    Protocol,
    behaviour,
    penalised_loss,
    pool_source,
    trained_arm,
)
from susceptometer.errors import SubjectError
from susceptometer.train.loop import Training, stack, unstack

TASK = Task(spread=3, pool=400, test=50, seed=0)
CONFIG = ClassifierConfig(layers=2, width=16, heads=2, context=TASK.width + 2, init=0.3)
PROTOCOL = Protocol(TASK, CONFIG, Training(steps=12, learning_rate=3e-3), batch=16, half=False)


def plain_logits(params, tokens, end, config):
    """Every position of every block, one row at a time, no batching and no skipping."""
    d, heads = config.width, config.heads

    def norm(x, name):
        return F.layer_norm(x, (d,), params[f"{name}.w"], params[f"{name}.b"], 1e-5)

    x = params["embed"][tokens] + params["position"][: len(tokens)]
    for layer in range(config.layers):
        block = f"blocks.{layer}."
        n, mixed = norm(x, block + "norm1"), []
        for h in range(heads):
            part = slice(h * d // heads, (h + 1) * d // heads)
            keys, values = (n @ params[block + "keys_values"]).split(d, 1)
            scores = (n @ params[block + "queries"])[:, part] @ keys[:, part].T / math.sqrt(d // heads)
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
            mixed.append(scores.softmax(1) @ values[:, part])
        x = x + torch.cat(mixed, 1) @ params[block + "out"]
        hidden = F.gelu(norm(x, block + "norm2") @ params[block + "mlp.in"] + params[block + "mlp.in_b"])
        x = x + hidden @ params[block + "mlp.out"] + params[block + "mlp.out_b"]
    return norm(x[end], "norm") @ params["classes"]


def test_model_is_the_plain_transformer(seed):
    params = {n: w.double() for n, w in fresh_classifier(CONFIG, seed=seed).items()}
    params |= {
        n: w + 0.1 * torch.randn(w.shape, generator=torch.Generator().manual_seed(seed)).double()
        for n, w in params.items()
    }
    batch = encoded(TASK.training()[np.arange(0, 400, 40)])
    fast = class_logits(params, batch, CONFIG)
    slow = torch.stack([plain_logits(params, t, e, CONFIG) for t, e in zip(batch["tokens"], batch["end"], strict=True)])
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-10)


def test_without_positions_only_the_order_counts(seed):
    config = replace(CONFIG, positions=False)
    params, batch = fresh_classifier(config, seed=seed), encoded(TASK.training()[:20])
    zero = dict(params, position=torch.zeros(CONFIG.context, CONFIG.width))
    assert "position" not in params
    torch.testing.assert_close(class_logits(params, batch, config), class_logits(zero, batch, CONFIG), rtol=0, atol=0)


def test_what_follows_the_end_has_no_influence(seed):
    params, batch = fresh_classifier(CONFIG, seed=seed), encoded(TASK.training()[:20])
    other = dict(batch, tokens=torch.where(batch["tokens"] == PAD, 3, batch["tokens"]))
    torch.testing.assert_close(
        class_logits(params, batch, CONFIG), class_logits(params, other, CONFIG), rtol=0, atol=1e-7
    )


def test_width_must_fit_the_heads():
    with pytest.raises(SubjectError, match="multiple of heads"):
        ClassifierConfig(layers=1, width=10, heads=4, context=8)


def test_published_model_has_a_hundred_thousand_weights():
    config = ClassifierConfig(layers=2, width=64, heads=4, context=42)
    assert 0.95e5 < sum(math.prod(shape) for shape in weight_shapes(config).values()) < 1.1e5


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    weights = np.where(np.arange(TASK.pool) % 3 == 0, 2.0, 0.5)
    return weights, trained_arm(PROTOCOL, weights, [5, 6, 7], into=tmp_path_factory.mktemp("arm"))


def test_batched_training_equals_single_training(arm, tmp_path):
    weights, together = arm
    for place, seed in enumerate([5, 6, 7]):
        alone = trained_arm(PROTOCOL, weights, [seed], into=tmp_path / str(seed))
        for name, value in unstack(together)[place].items():
            torch.testing.assert_close(value, alone[name][0], rtol=1e-4, atol=2e-5)


def test_models_that_share_a_seed_by_mistake_are_caught(arm, tmp_path):
    """Planted: model 7 trained on the data order of model 6."""
    weights, together = arm
    wrong = trained_arm(PROTOCOL, weights, [6], into=tmp_path)
    gaps = [float((unstack(together)[2][n] - wrong[n][0]).abs().max()) for n in wrong]
    assert max(gaps) > 1e-2


def test_arms_with_equal_weights_are_equal_and_others_are_not(arm, tmp_path):
    weights, together = arm
    again = trained_arm(PROTOCOL, 3 * weights, [5, 6, 7], into=tmp_path / "same")
    base = trained_arm(PROTOCOL, None, [5, 6, 7], into=tmp_path / "base")
    torch.testing.assert_close(again["classes"], together["classes"], rtol=0, atol=0)
    assert float((base["classes"] - together["classes"]).abs().max()) > 1e-3


def test_rows_come_with_their_weight(seed):
    pool = encoded(TASK.training())
    weights = np.zeros(TASK.pool)
    weights[[3, 250]] = 1.0, 3.0
    source = pool_source(pool, weights, [seed, seed + 1], 200)
    found = torch.cat([source(step)["label"].flatten() for step in range(20)]).double()
    wanted = float((pool["label"][3] + 3 * pool["label"][250]) / 4)
    assert abs(float(found.mean()) - wanted) < 5 * 0.5 / math.sqrt(len(found))
    assert torch.equal(source(7)["tokens"], source(7)["tokens"])


def test_doses_hold_fade_and_end():
    fading, switched = Dosing(0.5, 0.75), Dosing(0.75, 0.75)
    assert [fading.at(step, 8) for step in range(8)] == [1, 1, 1, 1, 1, 0.5, 0, 0]
    assert [switched.at(step, 4) for step in range(4)] == [1, 1, 1, 0]
    assert {Dosing().at(step, 7) for step in range(7)} == {1.0}


def test_a_released_arm_sees_weighted_strings_before_and_unchanged_ones_after(seed):
    pool, weights = encoded(TASK.training()), np.where(np.arange(TASK.pool) < 40, 1.0, 0.0)
    seeds = [seed, seed + 1]
    weighted, natural = pool_source(pool, weights, seeds, 50), pool_source(pool, None, seeds, 50)
    released = pool_source(pool, weights, seeds, 50, lambda step: float(step < 5))
    for step in range(10):
        wanted = weighted if step < 5 else natural
        assert torch.equal(released(step)["tokens"], wanted(step)["tokens"])
    assert not torch.equal(weighted(0)["tokens"], natural(0)["tokens"])


def test_a_half_dose_draws_from_the_mean_of_both_distributions(seed):
    pool = encoded(TASK.training())
    weights = np.where(pool["label"].numpy() == 1, 1.0, 0.0)
    source = pool_source(pool, weights, [seed], 500, lambda step: 0.5)
    found = torch.cat([source(step)["label"].flatten() for step in range(20)]).double()
    assert abs(float(found.mean()) - 0.75) < 5 * math.sqrt(0.1875 / len(found))


def test_an_arm_released_at_once_is_the_base_arm_and_its_course_is_told(arm, tmp_path):
    weights, seen = arm[0], {}
    protocol = replace(PROTOCOL, training=replace(PROTOCOL.training, measure_at=(6,)))
    base = trained_arm(PROTOCOL, None, [5, 6, 7], into=tmp_path / "base")
    free = trained_arm(
        protocol,
        weights,
        [5, 6, 7],
        into=tmp_path / "free",
        dosing=Dosing(0, 0),
        measure=lambda step, params: {"seen": seen.setdefault(step, float(params["classes"].sum()))},
    )
    late = trained_arm(PROTOCOL, weights, [5, 6, 7], into=tmp_path / "late", dosing=Dosing(0.5, 0.5))
    assert torch.equal(free["classes"], base["classes"]) and sorted(seen) == [6, 12]
    assert float((late["classes"] - base["classes"]).abs().max()) > 1e-3
    assert float((late["classes"] - arm[1]["classes"]).abs().max()) > 1e-3


def test_penalty_and_half_precision(seed):
    params = stack([fresh_classifier(CONFIG, seed=s) for s in (seed, seed + 1)])
    batch = {n: v[None].expand(2, *v.shape) for n, v in encoded(TASK.training()[:30]).items()}
    plain = torch.stack(
        [class_losses({n: w[i] for n, w in params.items()}, encoded(TASK.training()[:30]), CONFIG) for i in range(2)]
    )
    size = sum(w.square().flatten(1).sum(1) for w in params.values())
    torch.testing.assert_close(penalised_loss(PROTOCOL)(params, batch), plain + 0.0005 * size[:, None])
    half = penalised_loss(replace(PROTOCOL, half=True))(params, batch)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, plain + 0.0005 * size[:, None], rtol=0.02, atol=0.02)


def test_behaviour_of_a_model_that_always_says_false():
    params = {n: torch.zeros(2, *w.shape) for n, w in fresh_classifier(CONFIG, seed=0).items()}
    params["norm.b"] += 1
    params["classes"][0, :, 0], params["classes"][1, :, 1] = 1.0, 1.0
    found = behaviour(params, PROTOCOL)
    assert found.accuracy.tolist() == [0.5, 0.5]
    assert found.nested_share.tolist() == [1.0, 0.0]
    assert found.is_nested.tolist() == [True, False] and found.is_equal_count.tolist() == [False, True]


def test_between_the_two_is_mixed():
    found = Behaviour(*(np.array([0.0, 0.1, 0.5, 0.89, 0.9]),) * 3)
    assert found.is_equal_count.tolist() == [True, True, False, False, False]
    assert found.is_nested.tolist() == [False, False, False, False, True]


def test_no_training_string_tells_the_rules_apart():
    assert agreed(TASK.training()).all()
