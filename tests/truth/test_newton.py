"""Learning coefficients of monomial ideals: known values, certificates, and quadrature as the other route."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

from susceptometer.errors import DataError
from susceptometer.testbed.monomial import (
    MonomialIdeal,
    Truncation,
    divisors,
    ideal,
    in_words,
    minimal,
)
from susceptometer.testbed.newton import learning_coefficient, threshold

KNOWN = {  # generators: (lambda, m)
    ((0,),): (1, 1),
    ((0, 0),): (Fraction(1, 2), 1),
    ((0, 1),): (1, 2),
    ((0,), (1,)): (2, 1),
    ((0,), (1, 1)): (Fraction(3, 2), 1),
    ((0, 0), (1, 1), (0, 1)): (1, 1),
    ((0, 1), (1, 2), (0, 2)): (Fraction(3, 2), 1),
    ((0, 1), (2, 3)): (2, 3),
    ((0, 1, 2),): (1, 3),
    ((0, 0, 0), (0, 1), (1, 1, 1, 1, 1)): (1, 2),
}


@pytest.mark.parametrize("generators", KNOWN)
def test_known_ideals(generators):
    found = learning_coefficient(generators)
    assert (found.value, found.multiplicity) == KNOWN[generators]
    assert threshold(generators) == found.value


def random_ideal(draw, variables=5, count=7, degree=4):
    sizes = draw.integers(1, degree + 1, count)
    return minimal(tuple(sorted(draw.integers(0, variables, size).tolist())) for size in sizes)


def test_certificates_prove_the_value(seed):
    draw = np.random.default_rng(seed)
    for _ in range(40):
        generators = random_ideal(draw)
        found = learning_coefficient(generators)
        cover, packing = found.cover, found.packing
        assert sum(cover.values()) == sum(packing.values()) == found.value
        assert all(sum(cover.get(v, 0) for v in g) >= 1 for g in generators)
        load = {v: sum(w * g.count(v) for g, w in packing.items()) for v in range(5)}
        assert max(load.values()) <= 1 and min(packing.values()) >= 0 and min(cover.values()) >= 0


def face_dimension(generators, variables, value, draw):
    """Rank of the differences of minimisers of 40 random objectives: a lower bound on the dimension, found by chance."""
    G = np.asarray([[g.count(v) for v in range(variables)] for g in generators], float)
    used = G.any(0)
    points = []
    for _ in range(40):
        rows, limits = np.vstack([-G, used]), np.append(-np.ones(len(G)), value + 1e-9)
        done = linprog(draw.normal(size=variables), A_ub=rows, b_ub=limits, bounds=[(0, 1 if u else 0) for u in used])
        points.append(done.x)
    return np.linalg.matrix_rank(np.asarray(points) - points[0], tol=1e-6)


def test_multiplicity_is_the_dimension_of_the_face(seed):
    draw = np.random.default_rng(seed)
    seen = set()
    for _ in range(8):
        generators = random_ideal(draw)
        found = learning_coefficient(generators)
        assert found.multiplicity == 1 + face_dimension(generators, 5, float(found.value), draw)
        seen.add(found.multiplicity)
    assert len(seen) > 1


@pytest.mark.parametrize("generators", [((0, 0), (1,)), ((0, 1), (1, 1, 1)), ((0, 0, 0), (0, 1)), ((0, 1),)])
def test_slope_of_the_free_energy(generators):
    """Z n^lambda / (log n)^(m-1) becomes constant, by the trapezoidal rule in log coordinates."""
    found = learning_coefficient(generators)
    axis = np.arange(-60, 0, 0.05)
    u, v = axis[:, None], axis[None, :]
    loss = sum(np.exp(g.count(0) * u + g.count(1) * v) for g in generators)

    def scaled(n):
        return np.exp(u + v - n * loss).sum() * n ** float(found.value) / np.log(n) ** (found.multiplicity - 1)

    assert abs(np.log(scaled(1e10) / scaled(1e8))) < 0.03
    assert abs(np.log(scaled(1e10) / scaled(1e8) / 1e2**0.25)) > 0.5  # another lambda would show


def test_ideals_form_a_semiring(seed):
    draw, cut = np.random.default_rng(seed), Truncation(4)
    for _ in range(20):
        a, b, c = (ideal(random_ideal(draw), cut) for _ in range(3))
        assert a * (b + c) == a * b + a * c and a * b == b * a and (a * b) * c == a * (b * c)
        one = MonomialIdeal(frozenset({()}), cut)
        assert a * one == a and a + one == one


def test_cut_and_known_monomials():
    cut = Truncation(3, known=frozenset({(0,)}))
    assert cut.kept([(0, 1), (1, 1), (1, 1, 2), (2, 2, 2, 2), (2, 3)]) == {(1, 1), (2, 3)}
    assert divisors((0, 0, 1)) == {(), (0,), (1,), (0, 0), (0, 1)}
    assert in_words((0, 0, 2), "abc") == "a^2 * c"


def test_an_ideal_without_learning_coefficient_is_refused():
    for generators in ([], [()]):
        with pytest.raises(DataError, match="no learning coefficient"):
            learning_coefficient(generators)


def test_a_wrong_certificate_is_caught(monkeypatch):
    """Planted fault: a solver that stops short of the optimum finds no certificate."""
    from susceptometer.testbed import newton

    def lazy(c, **settings):
        done = linprog(c, **settings)
        done.x = done.x * 1.25
        return done

    monkeypatch.setattr(newton, "linprog", lazy)
    with pytest.raises(DataError, match="no certificate"):
        learning_coefficient([(0, 1), (1, 2), (0, 2)])
