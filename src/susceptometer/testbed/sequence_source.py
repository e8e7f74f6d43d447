r"""Conditional sequence laws q(y|x) known exactly, and small ones whose modes have closed forms (chen2025).

A source is a finite set of contexts x with weights q(x) and a next-token law q(y|x) for each. For sequences of
length K the contexts are all prefixes, weighted so that the loss is the mean over positions.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from susceptometer.errors import DataError
from susceptometer.testbed.form import Array

Context = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SequenceSource:
    """A conditional law over finitely many contexts.

    Args:
        name: Short name.
        weights: q(x), positive, sum one, ``[contexts]``.
        conditional: q(y|x), rows sum to one, ``[contexts, outputs]``.
        contexts: The tokens of every context, oldest first.

    Raises:
        DataError: Shapes disagree, a weight is not positive, or rows are no probability laws.
    """

    name: str
    weights: Array
    conditional: Array
    contexts: tuple[Context, ...]

    def __post_init__(self) -> None:
        rows = len(self.contexts)
        if self.weights.shape != (rows,) or self.conditional.ndim != 2 or len(self.conditional) != rows or not rows:
            raise DataError(
                "shapes of a source disagree",
                where=self.name,
                value=f"{self.weights.shape}, {self.conditional.shape}, {rows} contexts",
                do="give weights [contexts] and conditional [contexts, outputs], at least one context",
            )
        sums = self.conditional.sum(1)
        if not (self.weights.min() > 0 and self.conditional.min() >= 0 and np.allclose(sums, 1, atol=1e-12)):
            raise DataError(
                "not a probability law",
                where=self.name,
                value=float(np.abs(sums - 1).max()),
                why="modes are taken under q(x) and q(y|x)",
                do="drop contexts of weight zero and normalise the rows",
            )
        if not np.isclose(self.weights.sum(), 1, atol=1e-12):
            raise DataError("context weights do not sum to one", where=self.name, value=float(self.weights.sum()))

    @property
    def outputs(self) -> int:
        """Number V of output tokens."""
        return self.conditional.shape[1]

    @property
    def output_law(self) -> Array:
        """q(y) ``[outputs]``."""
        return self.weights @ self.conditional

    @property
    def gram(self) -> Array:
        """G = E_x[q(.|x) q(.|x)'] ``[outputs, outputs]``; its eigenpairs are (s_a², u_a)."""
        return self.conditional.T @ (self.weights[:, None] * self.conditional)

    def merged(self) -> "SequenceSource":
        """Contexts with equal conditionals as one (their weights add); amplitudes stay the same."""
        rows, where = np.unique(np.round(self.conditional, 13), axis=0, return_inverse=True)
        first = [int(np.flatnonzero(where == i)[0]) for i in range(len(rows))]
        weights = np.bincount(where, self.weights)
        return SequenceSource(self.name, weights, self.conditional[first], tuple(self.contexts[i] for i in first))

    def sample(self, rows: int, generator: np.random.Generator) -> tuple[Array, Array]:
        """Draw ``rows`` pairs: context numbers and outputs, each ``[rows]`` integers."""
        chosen = generator.choice(len(self.contexts), size=rows, p=self.weights)
        edges = self.conditional.cumsum(1)[chosen]
        outputs = (generator.random((rows, 1)) > edges).sum(1)
        return chosen, np.minimum(outputs, self.outputs - 1)

    def tensor(self) -> Array:
        """T[y, x_1, .., x_k] = q(y|x) sqrt(q(x)) for contexts of equal length, zero where there is none.

        Raises:
            DataError: Contexts differ in length.
        """
        lengths = {len(context) for context in self.contexts}
        if len(lengths) != 1:
            raise DataError(
                "contexts differ in length",
                where=self.name,
                value=sorted(lengths),
                why="sites of a multi-way array need a common length",
                do="keep contexts of one length",
            )
        table = np.array(self.contexts)
        shape = (self.outputs, *(table.max(0) + 1))
        whole = np.zeros(shape)
        whole[(slice(None), *table.T)] = self.conditional.T * np.sqrt(self.weights)
        return whole

    def increments(self) -> list[Array]:
        """D_k = E[C | last k tokens] - E[C | last k-1 tokens], ``[contexts, outputs]`` each; orthogonal, sum C."""
        longest = max(map(len, self.contexts))
        levels = [self._averaged(k) for k in range(longest + 1)]
        return [levels[0], *(after - before for before, after in itertools.pairwise(levels))]

    def _averaged(self, length: int) -> Array:
        keys = [context[max(0, len(context) - length) :] for context in self.contexts]
        numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        which = np.array([numbers[key] for key in keys])
        mass = np.bincount(which, self.weights)
        sums = np.zeros((len(numbers), self.outputs))
        np.add.at(sums, which, self.weights[:, None] * self.conditional)
        return (sums / mass[:, None])[which]


def markov(transition: Array, length: int = 1) -> SequenceSource:
    """An order-1 chain in its stationary law, contexts of ``length`` tokens; transition ``[from, to]``."""
    stationary = stationary_law(transition)
    contexts, weights = [], []
    for context in itertools.product(range(len(transition)), repeat=length):
        weight = stationary[context[0]] * np.prod([transition[a, b] for a, b in itertools.pairwise(context)])
        if weight > 0:
            contexts.append(context)
            weights.append(weight)
    last = [context[-1] for context in contexts]
    return SequenceSource("markov", np.array(weights), transition[last], tuple(contexts))


def stationary_law(transition: Array) -> Array:
    """The left fixed vector of a transition matrix ``[from, to]``."""
    size = len(transition)
    system = np.vstack([transition.T - np.eye(size), np.ones(size)])
    return np.linalg.lstsq(system, np.r_[np.zeros(size), 1.0], rcond=None)[0]


def two_symbol_chain(leave: float, back: float, length: int = 1) -> SequenceSource:
    """P = [[1-leave, leave], [back, 1-back]]; s² = (T ± sqrt(T² - 4D))/2, D = pi_0 pi_1 (1-leave-back)²."""
    return markov(np.array([[1 - leave, leave], [back, 1 - back]]), length)


def absolute_bigram(others: Sequence[float]) -> SequenceSource:
    """Token 0 is always followed by 1; every other token by the law ``others`` (with others[1] = 0): two modes."""
    rows = np.tile(np.asarray(others, dtype=float), (len(others), 1))
    rows[0] = np.eye(len(others))[1]
    return markov(rows)


def function(values: Sequence[int], weights: Sequence[float]) -> SequenceSource:
    """Deterministic y = values[x]: one mode per output value with s² = P(y)."""
    table = np.eye(max(values) + 1)[list(values)]
    return SequenceSource("function", np.asarray(weights, dtype=float), table, tuple((x,) for x in range(len(values))))


def copy_first(law: Sequence[float]) -> SequenceSource:
    """y = x_1 while x_2 is irrelevant, both independent with ``law``: s² = law."""
    pairs = list(itertools.product(range(len(law)), repeat=2))
    weights = np.array([law[a] * law[b] for a, b in pairs])
    return SequenceSource("copy", weights, np.eye(len(law))[[a for a, _ in pairs]], tuple(pairs))


def parity() -> SequenceSource:
    """y = x_1 xor x_2 of two fair bits: every unfolding has the singular values (1, 1)/sqrt 2."""
    pairs = list(itertools.product((0, 1), repeat=2))
    return SequenceSource("parity", np.full(4, 0.25), np.eye(2)[[a ^ b for a, b in pairs]], tuple(pairs))


def nested_grammar(double: float) -> SequenceSource:
    """S -> ab (1 - double) | aabb (double), then an end symbol; outputs (a, b, end), contexts are all prefixes."""
    a, b, p = 0, 1, double
    contexts = ((), (a,), (a, b), (a, a), (a, a, b), (a, a, b, b))
    weights = np.array([1, 1, 1 - p, p, p, p]) / (3 + 2 * p)
    rows = np.array([[1, 0, 0], [p, 1 - p, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    return SequenceSource("nested grammar", weights, rows.astype(float), contexts)


def spins(couplings: Sequence[float]) -> SequenceSource:
    """x, y in {±1}^m, q(y|x) = 2^-m (1 + sum_i a_i x_i y_i): s = 2^(-m/2) (1, a_1, .., a_m) (derived).

    Raises:
        DataError: sum |a_i| > 1, so that some probability would be negative.
    """
    if sum(map(abs, couplings)) > 1:
        raise DataError("couplings too strong", where="spins", value=list(couplings), do="keep sum |a_i| <= 1")
    signs = sign_table(len(couplings))
    table = (1 + (signs * np.asarray(couplings)) @ signs.T) / len(signs)
    contexts = tuple(map(tuple, (signs > 0).astype(int).tolist()))
    return SequenceSource("spins", np.full(len(signs), 1 / len(signs)), table, contexts)


def sign_table(count: int) -> Array:
    """All vectors of ``count`` signs, ``[2^count, count]``, in binary order of (sign > 0)."""
    return np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
