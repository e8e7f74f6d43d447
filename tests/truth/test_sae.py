"""Autoencoders: planted sparse features are recovered; files of other trainers are read; matching has an honest null."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy import sparse

from susceptometer.errors import DataError
from susceptometer.structure.match import auroc, f1_score, match_clusters, permuted_within, wilson
from susceptometer.structure.sae import SAE, load_sae, save_sae
from susceptometer.structure.sae_training import SAEPlan, train_sae


def planted(seed, n=3000, d=24, features=40, active=3):
    """Activations that are sums of few of many directions, and the directions."""
    draw = torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(features, d, generator=draw), dim=1)
    chosen = torch.rand(n, features, generator=draw).topk(active, dim=1).indices
    sizes = 1 + torch.rand(n, active, generator=draw)
    return (sizes[..., None] * directions[chosen]).sum(1) + 0.3, directions


def test_planted_directions_are_recovered(seed):
    x, directions = planted(seed)
    sae = train_sae(x, SAEPlan(features=60, k=3, steps=250, batch=512, learning_rate=5e-3), seed=0)
    assert sae.explained(x) > 0.85
    closest = (F.normalize(sae.decoder, dim=1) @ directions.T).max(0).values
    assert (closest > 0.9).float().mean() > 0.8
    assert ((sae.encode(x) > 0).sum(1) <= 3).all()
    again = train_sae(x, SAEPlan(features=60, k=3, steps=5, batch=512), seed=0)
    same = train_sae(x, SAEPlan(features=60, k=3, steps=5, batch=512), seed=0)
    assert torch.equal(again.decoder, same.decoder)


def test_a_random_dictionary_explains_less(seed):
    x, _ = planted(seed)
    draw = torch.Generator().manual_seed(1)
    random = F.normalize(torch.randn(60, 24, generator=draw), dim=1)
    assert SAE(random.T, torch.zeros(60), random, x.mean(0), k=3).explained(x) < 0.7


def test_files_round_trip(tmp_path, seed):
    x, _ = planted(seed, n=600)
    sae = train_sae(x, SAEPlan(features=32, k=4, steps=20, batch=256), seed=0)
    sae.meta["stream"] = 1
    save_sae(sae, tmp_path)
    read = load_sae(tmp_path)
    assert read.k == 4 and read.meta == {"stream": 1}
    assert torch.allclose(read.decoder, sae.decoder, atol=1e-3)
    assert json.loads((tmp_path / "cfg.json").read_text())["d_sae"] == 32


def weights(d=6, features=10):
    draw = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (d, features), "b_enc": (features,), "W_dec": (features, d), "b_dec": (d,)}
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def written(path, card, tensors, name="sae_weights.safetensors"):
    (path / "cfg.json").write_text(json.dumps(card))
    save_file(tensors, path / name)
    return path


@pytest.mark.parametrize(
    ("card", "formula"),
    [
        ({"architecture": "standard", "activation_fn_str": "relu"}, lambda h, w: h.relu()),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}}, lambda h, w: top(h, 3)),
        ({"architecture": "topk", "k": 2}, lambda h, w: top(h, 2)),
        ({"architecture": "topk", "k": 2, "rescale_acts_by_decoder_norm": True}, lambda h, w: top(h * w["W_dec"].norm(dim=1), 2)),
        ({"architecture": "jumprelu"}, lambda h, w: h * (h > w["threshold"]) * (h > 0)),
    ],
)  # fmt: skip
def test_sae_lens_files_are_read(tmp_path, card, formula):
    tensors = {**weights(), "threshold": torch.full((10,), 0.5)}
    sae = load_sae(written(tmp_path, {**card, "apply_b_dec_to_input": False}, tensors))
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(sae.encode(x), formula(x @ tensors["W_enc"] + tensors["b_enc"], tensors))
    scale = tensors["W_dec"].norm(dim=1) if sae.by_norm else 1.0
    assert torch.allclose(
        sae.reconstruction(x),
        sae.encode(x) / scale @ tensors["W_dec"] + tensors["b_dec"],
        atol=1e-5,
    )


def top(h, k):
    best = h.topk(k, dim=-1)
    return torch.zeros_like(h).scatter_(-1, best.indices, best.values.relu())


def test_layer_norm_scaling_is_undone(tmp_path):
    sae = load_sae(
        written(
            tmp_path,
            {"architecture": "topk", "k": 2, "normalize_activations": "layer_norm"},
            weights(),
        )
    )
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(sae.encode(3 * x + 2), sae.encode(x), atol=1e-4)
    assert torch.allclose(sae.reconstruction(3 * x + 2), 3 * sae.reconstruction(x) + 2, atol=1e-3)


def test_eleuther_files_are_read(tmp_path):
    w = weights()
    tensors = {
        "encoder.weight": w["W_enc"].T.contiguous(),
        "encoder.bias": w["b_enc"],
        "W_dec": w["W_dec"],
        "b_dec": w["b_dec"],
    }
    sae = load_sae(written(tmp_path, {"k": 2, "d_in": 6}, tensors, "sae.safetensors"))
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(sae.encode(x), top((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"], 2), atol=1e-6)


@pytest.mark.parametrize(
    "card",
    [
        {"architecture": "gated"},
        {"architecture": "topk", "k": 99},
        {"normalize_activations": "expected_average_only_in"},
    ],
)
def test_unknown_files_are_refused(tmp_path, card):
    with pytest.raises(DataError, match="autoencoder"):
        load_sae(written(tmp_path, card, weights()))
    with pytest.raises(DataError, match="cannot be read"):
        load_sae(tmp_path / "nowhere")


def population(seed, tokens=4000, features=30):
    """Token ids, rows, random sparse features; feature 3 marks the cluster {a quarter of the tokens 5}."""
    draw = np.random.default_rng(seed)
    ids, rows = draw.integers(0, 20, tokens), np.arange(tokens) // 40
    role = draw.random(tokens) < 0.25
    cluster = np.flatnonzero((ids == 5) & role)
    dense = draw.random((tokens, features)) * (draw.random((tokens, features)) < 0.05)
    dense[:, 3] = 0
    dense[cluster, 3] = 1 + draw.random(len(cluster))
    return ids, rows, cluster, sparse.csc_array(dense)


def test_a_planted_feature_is_found_and_the_null_sees_only_identity(seed):
    ids, rows, cluster, features = population(seed)
    found = match_clusters([cluster], features, ids, rows, seed=0)
    one = found.matches[0]
    assert one.feature == 3 and one.f1 > 0.97 and one.auroc > 0.99 and one.precision == one.recall == 1
    assert found.share()[0] == 1 and found.null_share()[0] < 0.2 and found.null.max() < 0.5
    assert 0.25 < found.identity[0] < 0.55  # a quarter of the tokens 5: precision 1/4 at recall 1


def test_a_cluster_unknown_to_the_features_is_not_matched(seed):
    ids, rows, _, features = population(seed)
    stranger = np.flatnonzero(np.random.default_rng(seed).random(len(ids)) < 0.03)
    found = match_clusters([stranger], features, ids, rows, permutations=3, seed=0)
    assert found.f1[0] < 0.3 and found.share()[0] == 0


def test_a_union_of_features_is_found(seed):
    ids, rows, cluster, features = population(seed)
    dense = features.toarray()
    half = np.random.default_rng(seed).random(len(ids)) < 0.5
    dense[:, 4] = np.where(half, dense[:, 3], 0)
    dense[:, 3] = np.where(half, 0, dense[:, 3])
    one = match_clusters([cluster], sparse.csc_array(dense), ids, rows, permutations=1, seed=0).matches[0]
    assert one.f1 < 0.75 and one.union_f1 > 0.85 and set(one.union) == {3, 4}


def test_best_f1_against_all_cutoffs(seed):
    draw = np.random.default_rng(seed)
    values = np.round(draw.random((60, 4)) * (draw.random((60, 4)) < 0.5), 1)  # with ties
    flags = draw.random(60) < 0.3
    rows = np.zeros(60, dtype=int)
    rows[30:] = 1
    found = match_clusters(
        [np.flatnonzero(flags)],
        sparse.csc_array(values),
        np.arange(60),
        rows,
        permutations=1,
        seed=0,
    )
    every = [
        (f1_score(values[:30, j] >= cut, flags[:30]), j, cut)
        for j in range(4)
        for cut in np.unique(values[:30, j])
        if cut > 0
    ]
    best = max(every)[0]
    one = found.matches[0]
    assert f1_score(values[:30, one.feature] >= one.cutoff, flags[:30]) == pytest.approx(best)
    assert one.f1 == pytest.approx(f1_score(values[30:, one.feature] >= one.cutoff, flags[30:]))


def test_small_statistics(seed):
    draw = np.random.default_rng(seed)
    values, truth = draw.integers(0, 4, 80).astype(float), draw.random(80) < 0.4
    pairs = values[truth][:, None] - values[~truth][None]
    assert auroc(values, truth) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    low, high = wilson(5, 10)[1:]
    assert (low, high) == pytest.approx((0.2366, 0.7634), abs=1e-4) and wilson(0, 0) == (
        0.0,
        0.0,
        1.0,
    )
    keys = draw.integers(0, 5, (100, 2))
    order = permuted_within(keys, draw)
    assert np.array_equal(np.sort(order), np.arange(100)) and np.array_equal(keys[order], keys)
    assert (order != np.arange(100)).mean() > 0.5
