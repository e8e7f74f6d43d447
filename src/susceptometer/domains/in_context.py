r"""In-context linear regression: tasks, sequences and the two ideal predictors in closed form (carroll2025).

A task t in R^D; a sequence has x_k ~ N(0, I), y_k ~ N(t.x_k, variance), k = 1..K. Task sets are nested: one named
stream t_1, t_2, ... serves every diversity M, and the root task t_1 is in all of them. Loss: mean squared error of
predicting y_k from (x_1, y_1, .., x_k). The finite-set predictor and its threshold are those of raventos2023.
"""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from susceptometer.errors import DataError
from susceptometer.rng import stream

CHUNK = 4096
"""Tasks that the finite-set predictor takes at once."""


@dataclass(frozen=True)
class RegressionWorld:
    """Sizes and noise.

    Args:
        dimension: D.
        length: Examples K of a sequence.
        variance: Noise variance of y.
        seed: Names the task stream; the same for all diversities and all training seeds.

    Raises:
        DataError: A size below 1, or no noise.
    """

    dimension: int = 2
    length: int = 8
    variance: float = 0.125
    _: KW_ONLY
    seed: int

    def __post_init__(self) -> None:
        if min(self.dimension, self.length) < 1 or self.variance <= 0:
            raise DataError(
                "no such regression world",
                where="RegressionWorld",
                value=(self.dimension, self.length, self.variance),
                do="use e.g. RegressionWorld(2, 8, 0.125, seed=0)",
            )

    def tasks(self, diversity: int) -> Tensor:
        """The first ``diversity`` tasks of the stream ``[M, D]``, float64."""
        drawn = [
            torch.randn(self.dimension, generator=stream(self.seed, "task", number), dtype=torch.float64)
            for number in range(diversity)
        ]
        return torch.stack(drawn)

    def sequences(self, rows: int, tasks: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Fresh sequences: x ``[rows, K, D]`` and y ``[rows, K]``, float32.

        Args:
            rows: How many.
            tasks: Task set ``[M, D]``, one drawn per row; None: every row has a new normal task.
            generator: Random stream.
        """
        if tasks is None:
            task = torch.randn(rows, self.dimension, generator=generator)
        else:
            task = tasks.float()[torch.randint(len(tasks), (rows,), generator=generator)]
        x = torch.randn(rows, self.length, self.dimension, generator=generator)
        noise = torch.randn(rows, self.length, generator=generator) * self.variance**0.5
        return x, (x @ task[..., None])[..., 0] + noise


def ridge(x: Tensor, y: Tensor, variance: float) -> Tensor:
    """Bayes predictor for normal tasks, ``[rows, K]``: (X'X + variance I)^-1 X'y of the first k - 1 pairs, on x_k."""
    x, y = x.double(), y.double()
    outer = torch.einsum("rki,rkj->rkij", x, x).cumsum(1) - torch.einsum("rki,rkj->rkij", x, x)
    cross = (x * y[..., None]).cumsum(1) - x * y[..., None]
    eye = variance * torch.eye(x.shape[-1], dtype=x.dtype)
    task = torch.linalg.solve(outer + eye, cross[..., None])[..., 0]
    return (task * x).sum(-1)


def discrete(x: Tensor, y: Tensor, tasks: Tensor, variance: float) -> Tensor:
    """Bayes predictor dMMSE for a finite task set ``[M, D]``, ``[rows, K]``: posterior mean of t.x_k given the past."""
    x, y = x.double(), y.double()
    best = torch.full(x.shape[:2], -torch.inf, dtype=x.dtype)
    total, mean = torch.zeros_like(best), torch.zeros_like(best)
    for part in tasks.double().split(CHUNK):
        guess = torch.einsum("rkd,md->rkm", x, part)
        error = (y[..., None] - guess) ** 2 / (2 * variance)
        score = -(error.cumsum(1) - error)
        top = torch.maximum(best, score.max(-1).values)
        weight = (score - top[..., None]).exp()
        shrink = (best - top).exp()
        total, mean = total * shrink + weight.sum(-1), mean * shrink + (weight * guess).sum(-1)
        best = top
    return mean / total


def distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of predictions ``[rows, K]`` per row, ``[rows]``."""
    return ((first.double() - second.double()) ** 2).mean(-1)
