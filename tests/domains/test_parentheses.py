"""The generator against brute force over all short strings, both rules, and the mixtures of probes."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from scipy import stats

from susceptometer.domains.parentheses import (
    CLOSE,
    END,
    OPEN,
    PAD,
    START,
    Task,
    agreed,
    balanced_strings,
    disagreeing_strings,
    encoded,
    equal_count,
    nested,
    parsed,
    random_lengths,
    unequal_strings,
)
from susceptometer.domains.parentheses_probes import PROPERTIES, densities, mixture_weights, projected, realised
from susceptometer.errors import DataError

ROWS = 20_000


def every(length):
    return ["".join(chars) for chars in product("()", repeat=length)]


def written(strings):
    return ["".join("(" if s > 0 else ")" for s in row if s) for row in strings.steps]


def slowly_nested(text):
    """Nested by rewriting: delete () until nothing is left."""
    while "()" in text:
        text = text.replace("()", "")
    return not text


SHORT = [text for length in (2, 4, 6, 8) for text in every(length)]


def test_both_rules_on_every_short_string():
    strings = parsed(SHORT)
    assert nested(strings).tolist() == [slowly_nested(text) for text in SHORT]
    assert equal_count(strings).tolist() == [text.count("(") == text.count(")") for text in SHORT]
    wanted = [slowly_nested(t) == (t.count("(") == t.count(")")) for t in SHORT]
    assert agreed(strings).tolist() == wanted


@pytest.mark.parametrize(
    ("draw", "member"),
    [
        (balanced_strings, slowly_nested),
        (unequal_strings, lambda t: t.count("(") != t.count(")")),
        (disagreeing_strings, lambda t: t.count("(") == t.count(")") and not slowly_nested(t)),
    ],
)
@pytest.mark.parametrize("length", [2, 4, 6, 8])
def test_generators_are_uniform_on_exactly_their_strings(draw, member, length, seed):
    rng = np.random.default_rng(seed)
    wanted = {text for text in every(length) if member(text)}
    counts = Counter(written(draw(np.full(ROWS, length), 8, rng)))
    assert set(counts) == wanted
    if len(wanted) > 1:
        assert stats.chisquare([counts[text] for text in sorted(wanted)]).pvalue > 1e-5


def test_a_generator_with_a_wrong_rule_is_caught(seed):
    """Planted: closing with probability r/(r+1), which ignores how many characters are left."""
    rng, texts = np.random.default_rng(seed), Counter()
    for _ in range(4000):
        text, r = "", 0
        for place in range(8):
            left = 8 - place
            close = r == left or (r > 0 and rng.random() < r / (r + 1))
            text, r = text + (")" if close else "("), r + (-1 if close else 1)
        texts[text] += 1
    assert stats.chisquare([texts[t] for t in every(8) if slowly_nested(t)]).pvalue < 1e-5


def test_lengths(seed):
    lengths = random_lengths(ROWS, 19, np.random.default_rng(seed))
    assert lengths.min() >= 2 and lengths.max() <= 40 and not (lengths % 2).any()
    assert abs(lengths.mean() - 21) < 6 * np.sqrt(19 / ROWS)


def test_training_never_tells_the_rules_apart_and_the_other_set_always_does():
    task = Task(spread=9, pool=2000, test=500, seed=0)
    for strings in (task.training(), task.in_distribution()):
        assert agreed(strings).all() and nested(strings).mean() == 0.5
    assert not agreed(task.out_of_distribution()).any()
    assert equal_count(task.out_of_distribution()).all()
    assert np.array_equal(task.training().steps, task.training().steps)


def test_encoding():
    batch = encoded(parsed(["(())", ")(", "((("]))
    assert batch["tokens"].tolist() == [
        [START, OPEN, OPEN, CLOSE, CLOSE, END],
        [START, CLOSE, OPEN, END, PAD, PAD],
        [START, OPEN, OPEN, OPEN, END, PAD],
    ]
    assert batch["end"].tolist() == [5, 3, 4] and batch["label"].tolist() == [1, 1, 0]


def test_what_is_no_parenthesis_is_refused():
    with pytest.raises(DataError, match="not a string of parentheses"):
        parsed(["(a)"])


@pytest.fixture(scope="module")
def strings():
    return Task(spread=9, pool=4000, test=2, seed=1).training()


def test_probes_keep_both_classes_and_sum_to_one(strings):
    names, density = densities(strings)
    label = equal_count(strings)
    assert names == list(PROPERTIES)
    np.testing.assert_allclose(density[:, label].mean(1), 1)
    np.testing.assert_allclose(density[:, ~label].mean(1), 1)


def test_a_probe_is_the_conditional_distribution(strings):
    names, density = densities(strings)
    almost = density[names.index("almost_equal")]
    texts, difference = written(strings), np.abs(strings.depth[:, -1])
    assert set(difference[(almost > 0) & ~equal_count(strings)]) == {2}
    assert all(
        text.startswith(")")
        for text, r in zip(texts, density[names.index("starts_close")], strict=True)
        if r > 0 and text.count("(") != text.count(")")
    )
    never = [
        t for t, r in zip(texts, density[names.index("never_negative")], strict=True) if r > 0 and not slowly_nested(t)
    ]
    assert never and all(min(np.cumsum([1 if c == "(" else -1 for c in t])) >= 0 for t in never)


def test_a_mixture_is_the_mixture(strings):
    """Expectations under rho equal the mixture of expectations, for a negative coordinate too."""
    names, density = densities(strings)
    h = np.zeros(len(names))
    h[0], h[4] = 0.3, -0.1
    value = strings.lengths.astype(float)
    base, probes = value.mean(), density @ value / len(value)
    wanted = (1 - h.sum()) * base + h @ probes
    assert np.isclose((mixture_weights(density, h) * value).mean(), wanted)


def test_realised_weights_are_non_negative_and_say_what_they_lost(strings):
    names, density = densities(strings)
    label = equal_count(strings)
    h = np.zeros(len(names))
    h[names.index("almost_equal")] = 0.2
    kept, cost = realised(mixture_weights(density, h), label)
    np.testing.assert_allclose(kept, mixture_weights(density, h))
    assert cost["clipped"] == 0 and cost["lost"] < 1e-12
    kept, cost = realised(mixture_weights(density, -10 * h), label, floor=0.2)
    assert kept.min() > 0.1 and np.isclose(kept[label].mean(), 1)
    kept, cost = realised(mixture_weights(density, -10 * h), label)
    assert kept.min() == 0 and np.isclose(kept[label].mean(), 1) and np.isclose(kept[~label].mean(), 1)
    assert cost["clipped"] > 0.05 and cost["lost"] > 0.1


def test_projection_gives_back_what_was_not_clipped_and_less_of_what_was(strings):
    names, density = densities(strings)
    h = np.zeros(len(names))
    h[0], h[4] = 0.3, -0.1
    np.testing.assert_allclose(projected(density, mixture_weights(density, h)), h, atol=1e-9)
    kept, _ = realised(mixture_weights(density, -10 * h), equal_count(strings))
    left = projected(density, kept)
    assert -3 < left[0] < -0.1
