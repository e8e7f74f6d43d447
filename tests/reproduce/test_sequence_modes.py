"""Claims on sequence modes at smoke scale, and the parts only this reproduction uses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from susceptometer.domains.pico import making_of
from susceptometer.domains.sequence_net import SignNet, descend, derivatives, minimised, mode_slopes, population_loss
from susceptometer.domains.sequence_text import model_modes, propensities, rotated, truncated_subject
from susceptometer.reproduce import sequence_pair_claims, sequence_pairs
from susceptometer.reproduce import sequence_text_runs as text_runs
from susceptometer.reproduce.registry import page, reproduce
from susceptometer.reproduce.sequence_runs import source_and_cut
from susceptometer.reproduce.setting import Setting
from susceptometer.structure.modes import modes


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return Setting("smoke", 0, tmp_path_factory.mktemp("modes"), say=str)


def test_claims_at_smoke_scale(setting):
    table = reproduce("sequence-modes", setting)
    verdicts = {row.text[:24]: row.verdict for row in table.claims}
    assert verdicts["Spin source, only the fi"] == "agrees"
    assert verdicts["Inverse temperature reso"] == "agrees"
    assert verdicts["Trained on the whole and"] == "agrees"
    differs = [row.text for row in table.claims if row.verdict == "differs"]
    assert all("carry the principal pairs" in text or "functions of the last two" in text for text in differs)
    assert "token hash" in table.provenance["text"]
    assert page(table, setting).count("<figure>") == 7


def test_a_pair_that_modes_carry_would_be_reported(setting):
    """Planted: with R² 0.9 from both kinds of modes the row agrees, and with less left over the induction row fails."""
    fits, last = dict(sequence_pairs.pair_fits(setting)), dict(sequence_pairs.pair_recurrence(setting))
    surprisal = sequence_pairs.pair_surprisal(setting)
    assert sequence_pair_claims._linear(fits, surprisal, 0).verdict == "differs"
    planted = {**fits, "R2 both": np.full_like(fits["R2 both"], 0.9)}
    assert sequence_pair_claims._linear(planted, surprisal, 0).verdict == "agrees"
    sure = {**fits, "reliability": np.full_like(fits["reliability"], 0.95), "induction": fits["pc"] == 2}
    short = {key: np.full_like(value, 0.4 if "error" not in key else 0.01) for key, value in last.items()}
    assert sequence_pair_claims._induction(sure, short).verdict == "agrees"
    whole = {**short, "fixed": np.full_like(short["fixed"], 0.94)}
    assert sequence_pair_claims._induction(sure, whole).verdict == "differs"


def test_all_modes_leave_the_loss_of_a_language_model_alone(setting):
    subject, config = text_runs.loaded(setting, -1), making_of(text_runs.MODEL).config
    found = model_modes(subject.params, subject.data["tokens"][:8], config)
    whole = replace(found, vectors=np.linalg.qr(np.column_stack([found.vectors, np.eye(config.vocabulary)]))[0])
    whole = replace(whole, amplitude=np.ones(config.vocabulary))
    batch = {"tokens": subject.data["tokens"][:2]}
    same = truncated_subject(subject, config, whole, config.vocabulary).center_loss(batch)
    assert torch.allclose(same, subject.center_loss(batch), atol=2e-4)
    cut = truncated_subject(subject, config, found, 8).center_loss(batch)
    assert (cut - subject.center_loss(batch)).abs().max() > 0.1


def test_the_null_keeps_the_first_mode_only(setting):
    subject, config = text_runs.loaded(setting, -1), making_of(text_runs.MODEL).config
    found = model_modes(subject.params, subject.data["tokens"][:8], config)
    null = rotated(found, 6, seed=0)
    assert found.overlap(null, slice(0, 1)) == pytest.approx(1)
    assert found.overlap(null, slice(0, 6)) < 0.4
    assert null.vectors.T @ null.vectors == pytest.approx(np.eye(6), abs=1e-10)


def test_propensities_sum_to_the_law():
    source, _ = source_and_cut()
    found = modes(source)
    pairs = np.array([(x, y) for x in range(8) for y in range(8)])
    parts = propensities(found, source.conditional[pairs[:, 0]], pairs[:, 1])
    assert parts.sum(1) == pytest.approx(source.conditional[pairs[:, 0], pairs[:, 1]], abs=1e-12)


def test_descent_and_minimum_lower_the_loss_towards_the_entropy():
    net, (source, cut) = SignNet(hidden=3), source_and_cut()
    target = (cut, source.weights)
    entropy = float(-(source.weights[:, None] * cut * np.log(cut)).sum())
    path = descend(net, net.initial(0), target, learning_rate=0.5, keep=(0, 50, 200))
    best = minimised(net, path[200], target, most=150)
    losses = [float(population_loss(net.log_law(at), *target)) for at in (*path.values(), best)]
    assert losses[0] > losses[1] > losses[2] > losses[3]
    assert losses[3] == pytest.approx(entropy, abs=1e-6)


def test_mode_slopes_are_directional_derivatives():
    net, (source, _) = SignNet(hidden=3), source_and_cut()
    found, at = modes(source), net.initial(0)
    slopes, curvatures = mode_slopes(net, at, source, found)
    labels = source.conditional @ np.outer(found.vectors[:, 1], found.vectors[:, 1])
    slope, _ = derivatives(lambda params: population_loss(net.log_law(params), labels, source.weights), at)
    _, bend = derivatives(lambda params: population_loss(net.log_law(params), source.conditional, source.weights), at)
    assert slopes[1] == pytest.approx(np.linalg.norm(slope), rel=1e-9)
    assert curvatures[1] == pytest.approx(slope @ bend @ slope / (slope @ slope), rel=1e-9)
