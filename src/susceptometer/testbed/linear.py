r"""Products of weight matrices: population loss, exact gradient, balanced centre, examples.

K(W) = ½ |W_L ... W_1 - W*|_F² is the excess log loss of a linear network whose inputs are N(0, I)
and whose outputs carry unit noise. Parameters are ``layer1`` .. ``layerL``, ``layer_i`` [d_i, d_{i-1}].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from susceptometer.errors import RecipeError
from susceptometer.types import Batch, Params, rows_of


@dataclass(frozen=True)
class LinearNetwork:
    """A linear network of given widths with a teacher of given rank at a balanced w*.

    Every centre matrix is blockdiag(I_r, 0): all layers have the rank of the product, so the local
    coefficient equals the minimum over the whole fibre (derived for two layers).

    Args:
        widths: d_0 .. d_L: input, hidden layers, output.
        rank: r of the product W*.

    Raises:
        RecipeError: Fewer than two widths, or a rank that does not fit through every layer.
    """

    widths: tuple[int, ...]
    rank: int

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or not 0 <= self.rank <= min(self.widths):
            raise RecipeError(
                "not a linear network",
                where="linear.LinearNetwork",
                value=(self.widths, self.rank),
                why="it needs two widths or more, and 0 <= rank <= every width",
                do="lower the rank or widen the narrowest layer",
            )

    @property
    def center(self) -> Params:
        """Balanced w*, float64: ``layer_i`` = blockdiag(I_r, 0)."""
        shapes = zip(self.widths[1:], self.widths[:-1], strict=True)
        return {f"layer{i}": _unit(self.rank, *shape) for i, shape in enumerate(shapes, 1)}

    @property
    def teacher(self) -> Tensor:
        """W* [d_L, d_0], float64."""
        return _unit(self.rank, self.widths[-1], self.widths[0])

    @property
    def size(self) -> int:
        """Number of weights D; D/2 is the coefficient of a regular minimum."""
        return sum(a * b for a, b in zip(self.widths[1:], self.widths[:-1], strict=True))

    @property
    def data(self) -> Batch:
        """One row: the loss is a population loss."""
        return {"index": torch.zeros(1, dtype=torch.long)}

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """Population loss K in nats, once per row [rows]: exact gradients, no data noise."""
        residual = self._residual(params)
        return (0.5 * (residual**2).sum()).expand(rows_of(batch))

    def example_loss(self, params: Params, batch: Batch) -> Tensor:
        """Excess log loss of each example of ``input`` [rows, d_0] and ``noise`` [rows, d_L].

        ½ |y - W x|² - ½ |y - W* x|² with y = W* x + noise; its mean over data is K.
        """
        shift = batch["input"] @ self._residual(params).mT
        return (0.5 * shift**2 - shift * batch["noise"]).sum(-1)

    def examples(self, seed: int, rows: int) -> dict[str, Tensor]:
        """Fresh data: ``input`` ~ N(0, I) [rows, d_0] and ``noise`` ~ N(0, I) [rows, d_L]."""
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(rows, width, generator=generator, dtype=torch.float64)
            for name, width in (("input", self.widths[0]), ("noise", self.widths[-1]))
        }

    def gradient(self, params: Params) -> Params:
        """Exact gradient of K: ``(W_L .. W_{i+1})' (W - W*) (W_{i-1} .. W_1)'`` for layer i."""
        layers, residual = self._layers(params), self._residual(params)
        result = {}
        for i, name in enumerate(params, 1):
            above = product(layers[i:]) if i < len(layers) else torch.eye(self.widths[-1]).to(residual)
            below = product(layers[: i - 1]) if i > 1 else torch.eye(self.widths[0]).to(residual)
            result[name] = above.mT @ residual @ below.mT
        return result

    def _layers(self, params: Params) -> list[Tensor]:
        return [params[f"layer{i}"] for i in range(1, len(self.widths))]

    def _residual(self, params: Params) -> Tensor:
        whole = product(self._layers(params))
        return whole - self.teacher.to(whole)


def product(layers: Sequence[Tensor]) -> Tensor:
    """W_L ... W_1 from [W_1, ..., W_L]."""
    return reduce(lambda below, layer: layer @ below, layers)


def _unit(rank: int, rows: int, columns: int) -> Tensor:
    """blockdiag(I_r, 0) of the given shape, float64."""
    matrix = torch.zeros(rows, columns, dtype=torch.float64)
    matrix[:rank, :rank] = torch.eye(rank, dtype=torch.float64)
    return matrix
