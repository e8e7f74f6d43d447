"""Modes from counts: the noise floor, the unbiased Gram matrix, back-off, smoothing and the random sketch."""

import numpy as np
import pytest
from scipy import sparse

from susceptometer.errors import DataError
from susceptometer.structure.counts import CountTable, count_table, mode_values, modes_of_counts, sketched_modes
from susceptometer.structure.modes import modes
from susceptometer.testbed.sequence_source import SequenceSource


def source(draw, contexts, outputs, sharpness=0.3):
    table = draw.dirichlet(np.full(outputs, sharpness), contexts)
    weights = draw.dirichlet(np.ones(contexts))
    return SequenceSource("random", weights, table, tuple((i,) for i in range(contexts)))


def counted(law, rows, draw):
    """A table of ``rows`` draws from a law."""
    which, outputs = law.sample(rows, draw)
    counts = sparse.coo_array((np.ones(rows), (which, outputs)), shape=law.conditional.shape)
    counts.sum_duplicates()
    counts = sparse.csr_array(counts)
    seen = np.flatnonzero(np.asarray(counts.sum(1)).ravel() > 0)
    return CountTable(sparse.csr_array(counts[seen]), np.array(law.contexts)[seen]), seen


def test_singletons_show_the_unigram_law_whatever_the_data(seed):
    draw = np.random.default_rng(seed)
    outputs = draw.integers(0, 5, 300)
    counts = sparse.csr_array((np.ones(300), (np.arange(300), outputs)), shape=(300, 5))
    table = CountTable(counts, np.arange(300)[:, None])
    assert np.linalg.eigvalsh(table.gram()) == pytest.approx(np.sort(table.output_law), abs=1e-12)
    with pytest.raises(DataError, match="every context occurs once"):
        table.unbiased_gram()
    assert table.coverage(2) == 0


def test_the_unbiased_gram_is_unbiased_and_the_plain_one_is_not():
    draw = np.random.default_rng(0)
    law = source(draw, 400, 12)
    sums, plain = np.zeros((2, 300, 12, 12))
    for i in range(300):
        table, _ = counted(law, 8000, draw)
        sums[i], plain[i] = table.unbiased_gram(), table.gram()
    covered = 1 - (1 - law.weights) ** 7999  # a context is covered given one occurrence with this probability
    truth = law.conditional.T @ ((law.weights * covered)[:, None] * law.conditional)
    error = sums.std(0) / np.sqrt(300)
    assert np.abs((sums.mean(0) - truth) / error).max() < 5
    assert np.abs(sums.mean(0) - truth).max() < 5e-4
    assert np.abs((plain.mean(0) - truth) / error).max() > 20, (plain.mean(0) - truth, error)


@pytest.mark.parametrize(("contexts", "outputs", "rows"), [(200, 10, 5000), (500, 60, 20000), (1000, 30, 20000)])
def test_the_floor_is_the_size_of_the_counting_noise(contexts, outputs, rows, seed):
    draw = np.random.default_rng(seed)
    law = source(draw, contexts, outputs)
    table, seen = counted(law, rows, draw)
    exact = law.conditional[seen] * np.sqrt(law.weights[seen])[:, None]
    measured = np.linalg.norm(table.matrix().toarray() - exact, 2)
    assert 0.95 < table.floor() / measured < 1.6


def test_additive_smoothing_is_sparse_plus_rank_one(seed):
    draw = np.random.default_rng(seed)
    table, _ = counted(source(draw, 30, 7), 400, draw)
    amount, totals = 0.4, table.context_totals
    law = (table.counts.toarray() + amount) / (totals + 7 * amount)[:, None]
    dense = law * np.sqrt(totals / table.total)[:, None]
    operator = table.smoothed(amount)
    assert operator @ np.eye(7) == pytest.approx(dense, abs=1e-12)
    assert operator.T @ np.eye(30)[: len(totals), : len(totals)] == pytest.approx(dense.T, abs=1e-12)


def test_the_sketch_agrees_with_the_dense_decomposition(seed):
    draw = np.random.default_rng(seed)
    left, right = (np.linalg.qr(draw.standard_normal((n, 300)))[0] for n in (400, 300))
    exact = 0.93 ** np.arange(300.0)
    matrix = sparse.csr_array((left * exact) @ right.T)
    amplitude, vectors = sketched_modes(matrix, 20, seed=seed, power=8)
    assert amplitude == pytest.approx(exact[:20], rel=1e-6)
    assert np.abs(vectors.T @ right[:, :20]) == pytest.approx(np.eye(20), abs=1e-3)


def test_counting_windows_by_hand():
    table = count_table(np.array([[0, 1, 0, 1, 2]]), 3, context=2)
    assert table.contexts.tolist() == [[0, 1], [1, 0]]
    assert table.counts.toarray().tolist() == [[1, 0, 1], [0, 1, 0]]
    assert table.total == 3
    assert table.conditional(0) == pytest.approx([0.5, 0, 0.5])


def test_rare_contexts_fall_back_to_their_longest_frequent_suffix():
    rows = np.array([[0, 1, 2, 1, 2, 1, 2, 0]])
    table = count_table(rows, 3, context=2, least=2)
    # (0,1) is seen once and becomes (.,1), itself seen once: the empty context; (1,2) three times; (2,1) twice
    found = {
        tuple(context): counts
        for context, counts in zip(table.contexts.tolist(), table.counts.toarray().tolist(), strict=True)
    }
    assert found == {(-1, -1): [0, 0, 1], (1, 2): [1, 2, 0], (2, 1): [0, 0, 2]}
    assert table.total == 6


def test_modes_of_many_counts_come_close_to_the_law(seed):
    draw = np.random.default_rng(seed)
    law = source(draw, 40, 8, sharpness=0.2)
    table, _ = counted(law, 400_000, draw)
    found, exact = modes_of_counts(table, 8, seed=0), modes(law)
    above = exact.amplitude > 4 * found.floor
    assert above.sum() >= 4
    assert np.abs(found.amplitude - exact.amplitude)[above].max() < found.floor
    assert found.overlap(exact, slice(0, 1)) > 0.999


def test_large_vocabularies_take_the_sketch(seed, monkeypatch):
    draw = np.random.default_rng(seed)
    table, _ = counted(source(draw, 200, 40), 100_000, draw)
    dense = modes_of_counts(table, 6, variant="chi2", seed=0)
    monkeypatch.setattr("susceptometer.structure.counts.DENSE_LIMIT", 10)
    sketch = modes_of_counts(table, 6, variant="chi2", seed=0)
    assert sketch.amplitude[0] == pytest.approx(1, abs=1e-9)
    assert np.abs(sketch.amplitude - dense.amplitude).max() < 2 * dense.floor * np.sqrt(1 / dense.output_law.min())


def test_bad_tables_are_refused():
    with pytest.raises(DataError, match="outside the vocabulary"):
        count_table(np.array([[0, 9]]), 3, context=1)
    with pytest.raises(DataError, match="too short"):
        count_table(np.array([[0, 1]]), 3, context=2)
    with pytest.raises(DataError, match="empty"):
        CountTable(sparse.csr_array((0, 3)), np.zeros((0, 1)))


def test_contexts_are_found_by_their_longest_stored_suffix():
    rows = np.array([[0, 1, 2, 1, 2, 1, 2, 0]])
    table = count_table(rows, 3, context=2, least=2)
    asked = np.array([[1, 2], [0, 1], [2, 2], [-1, 1]])  # stored: (1, 2), (2, 1) and the empty one
    assert [tuple(table.contexts[i]) for i in table.places(asked)] == [(1, 2), (-1, -1), (-1, -1), (-1, -1)]
    alone = count_table(rows, 3, context=1)
    assert alone.places(np.array([[0], [2], [-1]])).tolist() == [0, 2, -1]


def test_values_of_counted_modes_sum_to_the_conditional_law(seed):
    draw = np.random.default_rng(seed)
    table = count_table(draw.integers(0, 4, (50, 40)) % 3 + draw.integers(0, 2, (50, 40)), 5, context=1)
    found = modes_of_counts(table, 5, seed=0)
    contexts, outputs = np.array([[0], [2], [-1]]), np.array([1, 3, 2])
    values = mode_values(table, found, contexts, outputs)
    kept = found.projection(found.rank)
    laws = [table.conditional(0), table.conditional(2), table.output_law]  # -1 was never counted: the unigram law
    assert values.sum(1) == pytest.approx([(kept @ law)[y] for law, y in zip(laws, outputs, strict=True)], abs=1e-12)
    u = found.vectors[:, 0]
    assert values[1, 0] == pytest.approx(u[3] * (u @ laws[1]), abs=1e-12)
