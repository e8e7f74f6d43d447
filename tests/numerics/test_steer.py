"""Arms on the same seeds: forks, weights from a step on, controls, planning again, resuming; onsets."""

import numpy as np
import pytest
import torch

from susceptometer.domains.induction import match_length, planned_weights, seen_before
from susceptometer.errors import DataError, RunError
from susceptometer.patterning.controls import flagged, permuted, permuted_within, ranked_by
from susceptometer.patterning.steer import Arm, Course, beside, log_lines, observed_change, onset, steer
from susceptometer.patterning.weight_model import fit_weights
from susceptometer.train.adamw import AdamW
from susceptometer.train.loop import Training, stack, train

SETTINGS = Training(steps=12, learning_rate=0.05, save_every=4, measure_at=(0, 4, 8, 12), optimizer=AdamW())


def squares(params, batch):
    """Distance of each model's weight to the rows' targets: ``[models, rows]``."""
    return (batch["x"] - params["w"][:, None]) ** 2


def source(step):
    generator = torch.Generator().manual_seed(step)
    return {"x": torch.randn(2, 6, generator=generator) + torch.tensor([-1.0, 1.0, -1, 1, -1, 1])}


def upper(step, batch):
    return (batch["x"] > 0).float() * 2


def measured(step, params):
    return {"models": [{"w": float(w)} for w in params["w"]]}


def course(from_step=4, source_of=source):
    return Course(squares, source_of, SETTINGS, measured, from_step)


START = stack([{"w": torch.tensor(0.0)}, {"w": torch.tensor(0.5)}])


def test_arms_share_all_but_their_weights(tmp_path):
    arms = {"baseline": Arm(), "up": Arm(upper), "down": Arm(lambda s, b: 2 - upper(s, b))}
    found = steer(course(), arms, start=START, into=tmp_path)
    logs = {name: [line["models"][0]["w"] for line in found.logs[name]] for name in arms}
    assert [line["step"] for line in found.logs["up"]] == [0, 4, 8, 12]
    assert logs["up"][:2] == logs["down"][:2] == logs["baseline"][:2], "weights act from step 4"
    assert logs["up"][-1] > logs["baseline"][-1] > logs["down"][-1]
    alone = train(squares, START, source, settings=SETTINGS, into=tmp_path / "alone")
    assert torch.equal(found.final["baseline"]["w"], alone["w"])


def test_a_fork_goes_on_as_if_it_had_never_stopped(tmp_path):
    from dataclasses import replace

    trunk = tmp_path / "trunk"
    train(squares, START, source, settings=replace(SETTINGS, steps=4), into=trunk)
    forked = steer(course(), {"up": Arm(upper)}, start=trunk, into=tmp_path / "forked")
    whole = steer(course(), {"up": Arm(upper)}, start=START, into=tmp_path / "whole")
    assert torch.equal(forked.final["up"]["w"], whole.final["up"]["w"]), "moments of the optimiser come along"
    assert [line["step"] for line in forked.logs["up"]] == [4, 8, 12]
    with pytest.raises(RunError, match="gone too far"):
        steer(course(from_step=2), {"up": Arm(upper)}, start=trunk, into=tmp_path / "late")
    with pytest.raises(RunError, match="no state to fork"):
        steer(course(), {"up": Arm(upper)}, start=tmp_path / "nowhere", into=tmp_path / "none")


def test_a_killed_arm_resumes_to_the_same_bits(tmp_path):
    def dying(step):
        if step == 9:
            raise KeyboardInterrupt
        return source(step)

    with pytest.raises(KeyboardInterrupt):
        steer(course(source_of=dying), {"up": Arm(upper)}, start=START, into=tmp_path / "cut")
    again = steer(course(), {"up": Arm(upper)}, start=START, into=tmp_path / "cut")
    whole = steer(course(), {"up": Arm(upper)}, start=START, into=tmp_path / "whole")
    assert torch.equal(again.final["up"]["w"], whole.final["up"]["w"])
    assert log_lines(tmp_path / "cut" / "up") == log_lines(tmp_path / "whole" / "up")


def test_plans_are_made_again_on_the_way(tmp_path):
    asked = []

    def replan(step, params):
        asked.append((step, float(params["w"][0])))
        return upper if step < 7 else (lambda s, b: 2 - upper(s, b))

    found = steer(course(), {"again": Arm(replan=replan, every=3)}, start=START, into=tmp_path / "a")
    assert [step for step, _ in asked] == [4, 7, 10]
    assert len({value for _, value in asked}) == 3, "each plan sees the weights of its own step"
    count = len(asked)
    steer(course(), {"again": Arm(replan=replan, every=3)}, start=START, into=tmp_path / "a")
    assert len(asked) == count, "a finished arm is only read"
    fixed = steer(course(), {"up": Arm(upper)}, start=START, into=tmp_path / "b")
    assert not torch.equal(found.final["again"]["w"], fixed.final["up"]["w"])


# --- controls ---------------------------------------------------------------------------------------


def test_controls_keep_the_histogram():
    generator = torch.Generator().manual_seed(3)
    weights, labels = torch.rand(2, 5, 8, generator=generator), torch.randint(4, (2, 5, 8), generator=generator)
    score = torch.randn(2, 5, 8, generator=generator)
    found = [permuted(weights, generator), permuted_within(weights, labels, generator), ranked_by(weights, score)]
    for other in found:
        assert torch.equal(other.flatten(1).sort(1).values, weights.flatten(1).sort(1).values)
        assert not torch.equal(other, weights)
    for label in range(4):
        for model in range(2):
            here = labels[model] == label
            assert torch.equal(found[1][model][here].sort().values, weights[model][here].sort().values)
    for model in range(2):
        by_score = found[2][model].flatten()[score[model].flatten().argsort()]
        assert bool((by_score.diff() >= 0).all())
    with pytest.raises(DataError, match="differ in shape"):
        ranked_by(weights, score[:, :2])


def test_flag_weights_have_mean_one_and_the_deviation_that_fits():
    flag = torch.zeros(2, 4, 10, dtype=torch.bool)
    flag[:, :, :3] = True
    for sd in (0.5, -0.5):
        found = flagged(flag, sd)
        assert found.mean().item() == pytest.approx(1) and found.std(correction=0).item() == pytest.approx(0.5)
        assert bool((found[flag] > 1).all()) == (sd > 0)
    strong = flagged(flag, -5.0)
    assert strong.min() == 0 and strong.mean().item() == pytest.approx(1)
    assert flagged(flag, 5.0)[~flag].max().item() == pytest.approx(0, abs=1e-6)


def test_planned_weights_are_clipped_and_keep_their_mean():
    scores = torch.linspace(-3, 3, 24).reshape(2, 3, 4)
    found = planned_weights(scores, 2.0)
    assert found.min() == 0 and found.flatten(1).mean(1).tolist() == pytest.approx([1, 1])
    assert torch.allclose(planned_weights(scores, 0.0), torch.ones(2, 3, 4))


# --- features and what they carry over --------------------------------------------------------------


def longest(row, place):
    """Length of the longest context before ``place`` that also stands before an earlier copy of its token."""
    best = 0
    for other in range(1, place):
        if row[other] == row[place]:
            size = 0
            while other - 1 - size >= 1 and row[other - 1 - size] == row[place - 1 - size]:
                size += 1
            best = max(best, size)
    return min(best, 6)


def test_match_lengths_and_counts_are_those_of_a_plain_search():
    ids = np.random.default_rng(0).integers(0, 4, (5, 25))
    wanted = [[longest(row, place) for place in range(1, 25)] for row in ids.tolist()]
    assert match_length(ids).tolist() == wanted
    counts = [[row[:place].count(row[place]) for place in range(1, 25)] for row in ids.tolist()]
    assert seen_before(ids).tolist() == counts


def test_weights_carry_over_as_far_as_features_tell():
    generator = np.random.default_rng(4)
    features = generator.standard_normal((1500, 3))
    rows = np.repeat(np.arange(30), 50)
    shift = 1e-4 * (features[:, 0] + (features[:, 1] > 0) + 0.5 * generator.standard_normal(1500))
    found = fit_weights(features, shift, rows, ceiling=0.9, seed=0)
    assert 0.6 < found.explained.mean() < 0.9
    assert found.scores(features).std() == pytest.approx(1)
    assert found.scores(features.reshape(30, 50, 3)).shape == (30, 50)
    assert "on unseen rows" in repr(found)
    nothing = fit_weights(features, generator.permutation(shift), rows, ceiling=0.0, seed=0)
    assert nothing.explained.mean() < 0.05
    with pytest.raises(DataError, match="do not fit"):
        fit_weights(features[:10], shift, rows, ceiling=0.9, seed=0)


def test_an_onset_is_interpolated():
    assert onset([0, 10, 20], [0.0, 0.1, 0.3], 0.2) == pytest.approx(15)
    assert onset([0, 10], [0.5, 0.6], 0.2) == 0
    assert onset([0, 10], [0.0, 0.1], 0.2) == np.inf


def test_observed_changes_are_paired_over_seeds():
    base = np.array([[1.0, 5.0], [2.0, 9.0], [4.0, 1.0]])
    found = observed_change(base + np.array([[0.1, 0.0], [0.1, 0.2], [0.1, -0.2]]), base, ["a", "b"])
    assert found.value.to_numpy() == pytest.approx([0.1, 0.0])
    assert found.error.to_numpy() == pytest.approx([0.0, 0.2 / np.sqrt(3)])


def test_predicted_stands_beside_observed():
    base = np.zeros((4, 2))
    seen = observed_change(np.array([[1.0, 2.0], [3.0, 2.0], [1.0, 2.5], [3.0, 1.5]]), base, ["a", "b"])
    expected = observed_change(np.array([[2.0, 0.0], [2.5, 0.0], [1.5, 0.1], [2.0, -0.1]]), base, ["a", "b"])
    table = beside({"up": expected}, {"up": seen})
    assert table["observed"].tolist() == pytest.approx([2, 2]) and table["predicted"].tolist() == pytest.approx([2, 0])
    assert table["gap"][0] == pytest.approx(0) and table["gap"][1] > 5
