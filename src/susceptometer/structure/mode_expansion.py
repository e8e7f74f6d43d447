r"""Susceptibilities as sums over the modes of the data (baker2025, gordon2026): why tokens come in clusters.

With q(x, y) = q(x) q(y) sum_a s_a u_a(x) v_a(y), s_1 = 1, u_1 = v_1 = 1, and both bases completed,

    chi_xy = sum_ab u_a(x) v_b(y) chi_ab,    chi_ab = -Cov[phi, l_ab - delta_a1 delta_b1 L],
    l_ab = E_{q(x) q(y)}[ l_xy u_a(x) v_b(y) ],    L = sum_a s_a l_aa,    sum_xy q(x, y) chi_xy = 0     (derived).

Tokens that follow their contexts through the same modes have nearby vectors of susceptibilities.
"""

from dataclasses import dataclass

import numpy as np

from susceptometer.errors import DataError
from susceptometer.testbed.form import Array
from susceptometer.testbed.sequence_source import SequenceSource


@dataclass(frozen=True, eq=False)
class ModeBasis:
    """Complete orthonormal bases of functions of contexts and of outputs, ordered by amplitude.

    Args:
        amplitude: s_a, decreasing, s_1 = 1, ``[min(X, V)]``.
        contexts: u_a(x) ``[X, X]``, columns orthonormal under q(x).
        outputs: v_b(y) ``[V, V]``, columns orthonormal under q(y).
        weights: q(x) ``[X]``.
        output_law: q(y) ``[V]``.
    """

    amplitude: Array
    contexts: Array
    outputs: Array
    weights: Array
    output_law: Array

    def coefficients(self, table: Array) -> Array:
        """f_ab of functions f(x, y) ``[..., X, V]``: E_{q(x)q(y)}[f u_a v_b], ``[..., X, V]`` in the order of modes."""
        left, right = self.weights[:, None] * self.contexts, self.output_law[:, None] * self.outputs
        return np.einsum("xa,...xy,yb->...ab", left, table, right)

    def values(self, coefficients: Array) -> Array:
        """f(x, y) = sum_ab f_ab u_a(x) v_b(y): the inverse of ``coefficients``."""
        return np.einsum("xa,...ab,yb->...xy", self.contexts, coefficients, self.outputs)

    def mean(self, coefficients: Array) -> Array:
        """E_q[f] = sum_a s_a f_aa ``[...]``."""
        size = len(self.amplitude)
        diagonal = np.diagonal(coefficients[..., :size, :size], axis1=-2, axis2=-1)
        return diagonal @ self.amplitude

    def kept(self, coefficients: Array, modes: int) -> Array:
        """Coefficients with all but the first ``modes`` functions of either side set to zero."""
        out = np.zeros_like(coefficients)
        out[..., :modes, :modes] = coefficients[..., :modes, :modes]
        return out


def mode_basis(source: SequenceSource) -> ModeBasis:
    """Complete bases of a law in which every output occurs.

    Raises:
        DataError: An output never occurs, so that functions of it have no norm.
    """
    law = source.output_law
    if law.min() <= 0:
        raise DataError(
            "an output never occurs",
            where=source.name,
            value=np.flatnonzero(law <= 0).tolist(),
            why="its functions have no norm under q(y)",
            do="drop it from the alphabet",
        )
    joint = np.sqrt(source.weights)[:, None] * source.conditional / np.sqrt(law)
    left, amplitude, right = np.linalg.svd(joint, full_matrices=True)
    sign = np.sign(left[:, :1].sum()) or 1.0
    left[:, 0], right[0] = left[:, 0] * sign, right[0] * sign
    contexts, outputs = left / np.sqrt(source.weights)[:, None], right.T / np.sqrt(law)[:, None]
    return ModeBasis(amplitude, contexts, outputs, source.weights, law)


def response_coefficients(basis: ModeBasis, observable: Array, losses: Array) -> Array:
    """chi_ab ``[X, V]`` from draws: observable phi ``[draws]`` and losses l_xy ``[draws, X, V]``."""
    parts = basis.coefficients(losses)
    parts[:, 0, 0] -= basis.mean(parts)
    shift = observable - observable.mean()
    return -np.einsum("d,dab->ab", shift, parts) / (len(shift) - 1)
