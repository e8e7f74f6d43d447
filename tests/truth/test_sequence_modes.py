"""Modes of sequence laws against closed forms, and the exact identities of the decomposition."""

import numpy as np
import pytest

from susceptometer.errors import DataError
from susceptometer.structure.modes import (
    mode_losses,
    modes,
    modes_of_gram,
    site_spectra,
    truncated,
    truncated_labels,
)
from susceptometer.testbed.sequence_source import (
    SequenceSource,
    absolute_bigram,
    copy_first,
    function,
    markov,
    nested_grammar,
    parity,
    spins,
    stationary_law,
    two_symbol_chain,
)


@pytest.fixture
def law(seed):
    """A random law: 12 contexts, 6 outputs."""
    draw = np.random.default_rng(seed)
    return SequenceSource(
        "random", draw.dirichlet(np.ones(12)), draw.dirichlet(np.ones(6), 12), tuple((i // 4, i % 4) for i in range(12))
    )


def squares(source, variant="l2"):
    return modes(source, variant=variant).amplitude ** 2


def test_two_symbol_chain():
    a, b = 0.3, 0.1
    source = two_symbol_chain(a, b)
    weight = np.array([b, a]) / (a + b)
    total = weight @ np.array([(1 - a) ** 2 + a**2, b**2 + (1 - b) ** 2])
    product = weight.prod() * (1 - a - b) ** 2
    root = np.sqrt(total**2 - 4 * product)
    assert squares(source) == pytest.approx([(total + root) / 2, (total - root) / 2], abs=1e-12)
    assert modes(source).amplitude == pytest.approx([0.8107456, 0.3204552], abs=1e-7)
    assert modes(source, variant="chi2").amplitude == pytest.approx([1, abs(1 - a - b)], abs=1e-12)


def test_truncation_of_the_chain_is_no_law_in_l2_and_the_unigram_law_in_chi2():
    source = two_symbol_chain(0.3, 0.1)
    cut = truncated(source, modes(source), 1).T
    assert cut == pytest.approx(np.array([[0.0993766, 0.1996528], [0.4366843, 0.8773219]]), abs=1e-7)
    assert cut.sum(0) == pytest.approx([0.5360609, 1.0769748], abs=1e-7)
    unigram = truncated(source, modes(source, variant="chi2"), 1)
    assert unigram == pytest.approx(np.tile([0.25, 0.75], (2, 1)), abs=1e-12)


def test_symmetric_chain():
    assert modes(two_symbol_chain(0.2, 0.2)).amplitude == pytest.approx([0.7071068, 0.4242641], abs=1e-7)


def test_deterministic_function_has_one_mode_per_value():
    source = function([0, 2, 1, 2], [0.1, 0.2, 0.4, 0.3])
    found = modes(source)
    assert squares(source) == pytest.approx([0.5, 0.4, 0.1], abs=1e-12)
    assert np.abs(found.vectors) == pytest.approx(np.eye(3)[[2, 1, 0]].T, abs=1e-12)
    indicator = np.array([[0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]).T
    assert np.abs(found.contexts) == pytest.approx(indicator / found.amplitude, abs=1e-12)


def test_absolute_bigram_has_two_modes():
    source = absolute_bigram([0.2, 0, 0.5, 0.3])
    assert source.weights == pytest.approx([1 / 6, 1 / 6, 5 / 12, 1 / 4], abs=1e-12)
    assert squares(source) == pytest.approx([0.3166667, 0.1666667], abs=1e-7)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_longer_contexts_of_an_order_one_chain_change_nothing(length):
    assert squares(two_symbol_chain(0.3, 0.1, length)) == pytest.approx(squares(two_symbol_chain(0.3, 0.1)), abs=1e-12)


def test_copy_and_parity_by_site():
    law = [0.5, 0.3, 0.2]
    source = copy_first(law)
    assert squares(source) == pytest.approx(law, abs=1e-12)
    spectra = site_spectra(source)
    assert spectra[0] == pytest.approx(np.sqrt(law), abs=1e-12)
    assert spectra[1] == pytest.approx(np.sqrt(law), abs=1e-12)
    assert spectra[2] == pytest.approx([1, 0, 0], abs=1e-12)
    for spectrum in site_spectra(parity()):
        assert spectrum == pytest.approx([0.5**0.5] * 2, abs=1e-12)


def test_nested_grammar():
    assert squares(nested_grammar(0.5)) == pytest.approx([3 / 8, 1 / 4, 1 / 4], abs=1e-12)
    p = 0.3
    block = np.array([[1 + p**2, p * (1 - p)], [p * (1 - p), (1 - p) ** 2 + 2 * p]]) / (3 + 2 * p)
    expected = sorted([1 / (3 + 2 * p), *np.linalg.eigvalsh(block)], reverse=True)
    assert squares(nested_grammar(p)) == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx([0.3611111, 0.2777778, 0.2444444], abs=1e-7)


def test_spins_in_both_variants():
    couplings = (0.5, 0.2, 0.08, 0.03)
    assert modes(spins(couplings)).amplitude == pytest.approx([0.25, 0.125, 0.05, 0.02, 0.0075], abs=1e-12)
    assert modes(spins(couplings), variant="chi2").amplitude == pytest.approx([1, *couplings], abs=1e-12)
    two = spins((0.6, 0.02))
    assert modes(two).amplitude == pytest.approx([0.5, 0.3, 0.01], abs=1e-12)


def test_dropping_a_spin_leaves_a_probability_law():
    source = spins((0.5, 0.2, 0.08, 0.03))
    cut = truncated(source, modes(source), 3)
    assert cut == pytest.approx(spins((0.5, 0.2, 0.0, 0.0)).conditional, abs=1e-12)


def test_amplitudes_and_expansion(law):
    for variant in ("l2", "chi2"):
        found = modes(law, variant=variant)
        whole = truncated(law, found, found.rank)
        assert whole == pytest.approx(law.conditional, abs=1e-12)
        left = found.factors(found.rank)[0]
        assert (found.contexts * found.amplitude) @ left.T == pytest.approx(law.conditional, abs=1e-12)
        assert found.vectors.T @ found.vectors == pytest.approx(np.eye(found.rank), abs=1e-12)
        assert found.contexts.T @ (law.weights[:, None] * found.contexts) == pytest.approx(
            np.eye(found.rank), abs=1e-12
        )
        assert found.context_values(law.conditional) == pytest.approx(found.contexts, abs=1e-10)
    assert squares(law).sum() == pytest.approx((law.weights * (law.conditional**2).sum(1)).sum(), abs=1e-12)
    phi = (law.weights[:, None] * (law.conditional - law.output_law) ** 2 / law.output_law).sum()
    assert squares(law, "chi2")[1:].sum() == pytest.approx(phi, abs=1e-12)


def test_the_gram_matrix_has_the_same_modes(law):
    for variant in ("l2", "chi2"):
        direct, by_gram = modes(law, variant=variant), modes_of_gram(law.gram, law.output_law, variant=variant)
        assert by_gram.amplitude == pytest.approx(direct.amplitude, abs=1e-10)
        for block in direct.blocks():
            assert direct.overlap(by_gram, block) == pytest.approx(1, abs=1e-9)


def test_merging_equal_contexts_changes_no_amplitude():
    source = markov(np.array([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]), 2)
    assert len(source.merged().contexts) == 2
    assert modes(source.merged()).amplitude == pytest.approx(modes(source).amplitude, abs=1e-12)


def test_chi2_truncations_are_normalised(law):
    found = modes(law, variant="chi2")
    for count in range(1, found.rank + 1):
        cut = truncated(law, found, count)
        assert cut.sum(1) == pytest.approx(np.ones(12), abs=1e-12)
        assert law.weights @ cut == pytest.approx(law.output_law, abs=1e-12)


def test_the_loss_is_linear_in_the_modes(law, seed):
    log_p = np.log(np.random.default_rng(seed + 1).dirichlet(np.ones(6), 12))
    pairs = [(x, y) for x in range(12) for y in range(6)]
    weight = np.array([law.weights[x] * law.conditional[x, y] for x, y in pairs])
    rows, outputs = np.array(pairs).T
    loss = -(weight * log_p[rows, outputs]).sum()
    for variant in ("l2", "chi2"):
        found = modes(law, variant=variant)
        parts = weight @ mode_losses(log_p[rows], outputs, found)
        assert -parts.sum() == pytest.approx(loss, abs=1e-12)
        for count in range(1, found.rank + 1):
            labels = truncated_labels(found, count, outputs)
            soft = -(weight * (labels * log_p[rows]).sum(1)).sum()
            exact = -(law.weights[:, None] * truncated(law, found, count) * log_p).sum()
            assert soft == pytest.approx(exact, abs=1e-12)
            assert soft == pytest.approx(-parts[:count].sum(), abs=1e-12)


def test_the_dropped_loss_is_bounded_by_the_tail(law, seed):
    log_p = np.log(np.random.default_rng(seed + 2).dirichlet(np.ones(6), 12))
    found = modes(law)
    size = np.sqrt((law.weights[:, None] * log_p**2).sum())
    for count in range(1, found.rank):
        dropped = (law.weights[:, None] * (law.conditional - truncated(law, found, count)) * log_p).sum()
        assert abs(dropped) <= found.tail(count) * size + 1e-12


def test_full_labels_are_one_hot_and_reversed_signs_would_be_seen(law):
    found = modes(law)
    labels = truncated_labels(found, found.rank, np.arange(6))
    assert labels == pytest.approx(np.eye(6), abs=1e-12)
    flipped = type(found)(found.variant, found.amplitude, found.vectors * [1, -1, 1, -1, 1, -1], found.output_law)
    assert truncated_labels(flipped, 3, np.arange(6)) == pytest.approx(truncated_labels(found, 3, np.arange(6)))


def test_increments_are_orthogonal_and_sum_to_the_law():
    draw = np.random.default_rng(3)
    source = markov(draw.dirichlet(np.ones(4), 4), 3)
    blend = source.conditional * 0.5 + 0.5 * draw.dirichlet(np.ones(4), len(source.contexts))
    source = SequenceSource("order 3", source.weights, blend, source.contexts)
    parts = source.increments()
    assert sum(parts) == pytest.approx(source.conditional, abs=1e-12)
    inner = [[(source.weights[:, None] * a * b).sum() for a in parts] for b in parts]
    assert np.array(inner) == pytest.approx(np.diag(np.diag(inner)), abs=1e-12)


def test_relabelling_permutes_vectors_only(law, seed):
    draw = np.random.default_rng(seed + 3)
    rows, columns = draw.permutation(12), draw.permutation(6)
    other = SequenceSource(
        "x", law.weights[rows], law.conditional[rows][:, columns], tuple(law.contexts[i] for i in rows)
    )
    first, second = modes(law), modes(other)
    assert second.amplitude == pytest.approx(first.amplitude, abs=1e-12)
    assert np.abs(second.vectors) == pytest.approx(np.abs(first.vectors[columns]), abs=1e-9)
    assert np.abs(second.contexts) == pytest.approx(np.abs(first.contexts[rows]), abs=1e-9)


def test_samples_follow_the_law(law, seed):
    rows, outputs = law.sample(200_000, np.random.default_rng(seed))
    joint = np.zeros((12, 6))
    np.add.at(joint, (rows, outputs), 1 / 200_000)
    exact = law.weights[:, None] * law.conditional
    assert np.abs((joint - exact) / np.sqrt(exact / 200_000)).max() < 5


def test_blocks_join_equal_amplitudes():
    assert [(b.start, b.stop) for b in modes(nested_grammar(0.5)).blocks()] == [(0, 1), (1, 3)]


def test_stationary_law_is_stationary(seed):
    transition = np.random.default_rng(seed).dirichlet(np.ones(5), 5)
    assert stationary_law(transition) @ transition == pytest.approx(stationary_law(transition), abs=1e-12)


def test_bad_requests_are_refused(law):
    with pytest.raises(DataError, match="no such number of modes"):
        modes(law, 7)
    with pytest.raises(DataError, match="no such truncation"):
        modes(law).factors(0)
    with pytest.raises(DataError, match="no such truncation"):
        modes(law, 3).factors(4)
    with pytest.raises(DataError, match="unknown variant"):
        modes(law, variant="l1")
    with pytest.raises(DataError, match="differ in length"):
        nested_grammar(0.5).tensor()
    with pytest.raises(DataError, match="too strong"):
        spins((0.9, 0.2))
    with pytest.raises(DataError, match="shapes"):
        SequenceSource("empty", np.zeros(0), np.zeros((0, 3)), ())
    with pytest.raises(DataError, match="probability"):
        SequenceSource("bad", np.array([1.0]), np.array([[0.5, 0.4]]), ((0,),))
