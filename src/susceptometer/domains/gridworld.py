r"""Cheese in the corner: a small gridworld whose values are exact (elliott2026b; the minimal version is our own).

W x W open cells, moves clamped at the border; a level is a (mouse, cheese) pair. The cheese lies in the corner (0, 0)
with probability 1 - mix, else anywhere; the mouse anywhere else. Reward 1 on arrival, discount g, absorbing. With the
policy's transition matrix P and the cheese at c, Q = g P with column c set to zero and

    v = (I - Q)^-1 P[:, c],    v[c] = 0,    V* = g^(distance - 1),    regret of a level = V* - v[mouse].
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from susceptometer.errors import DataError

MOVES = ((-1, 0), (0, -1), (1, 0), (0, 1))
"""Up, left, down, right as (row, column) steps."""

ACTIONS = ("up", "left", "down", "right")


@dataclass(frozen=True)
class GridWorld:
    """All levels of a W x W grid.

    Args:
        width: W, at least 2.
        discount: g in (0, 1).

    Raises:
        DataError: Outside these ranges.
    """

    width: int = 5
    discount: float = 0.9

    def __post_init__(self) -> None:
        if self.width < 2 or not 0 < self.discount < 1:
            raise DataError(
                "no such gridworld",
                where="GridWorld",
                value=(self.width, self.discount),
                why="the corner needs neighbours and values need a discount below 1",
                do="use e.g. GridWorld(5, 0.9)",
            )

    @property
    def cells(self) -> int:
        """Number of cells W²; cell i is (row i // W, column i % W)."""
        return self.width**2

    @cached_property
    def arrivals(self) -> Tensor:
        """Cell reached from a cell by an action, int64 ``[cells, 4]``."""
        row, column = torch.arange(self.cells) // self.width, torch.arange(self.cells) % self.width
        ends = []
        for down, right in MOVES:
            to_row, to_column = (row + down).clamp(0, self.width - 1), (column + right).clamp(0, self.width - 1)
            ends.append(to_row * self.width + to_column)
        return torch.stack(ends, 1)

    @cached_property
    def levels(self) -> Tensor:
        """All (cheese, mouse) pairs with different cells, int64 ``[levels, 2]``."""
        pairs = torch.cartesian_prod(torch.arange(self.cells), torch.arange(self.cells))
        return pairs[pairs[:, 0] != pairs[:, 1]]

    @cached_property
    def distances(self) -> Tensor:
        """Manhattan distance between cells ``[cells, cells]``: the shortest path on an open grid."""
        row, column = torch.arange(self.cells) // self.width, torch.arange(self.cells) % self.width
        return (row[:, None] - row).abs() + (column[:, None] - column).abs()

    def optimal(self, levels: Tensor) -> Tensor:
        """V* of levels ``[n]``, float64."""
        steps = self.distances[levels[:, 0], levels[:, 1]]
        return self.discount ** (steps - 1).double()

    def law(self, mix: float) -> Tensor:
        """Probability of every level ``[levels]``, float64: corner with 1 - mix, else uniform cheese.

        Raises:
            DataError: mix is not a probability.
        """
        if not 0 <= mix <= 1:
            raise DataError("the level mix is no probability", where="GridWorld.law", value=mix, do="use 0 <= mix <= 1")
        corner = (self.levels[:, 0] == 0).double()
        mice = self.cells - 1
        return (1 - mix) * corner / mice + mix / (self.cells * mice)

    def inputs(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """One-hot row and column of cheese and mouse for every (cheese, mouse), ``[cells, cells, 4 W]``."""
        place = torch.arange(self.cells)
        one = torch.cat([torch.eye(self.width)[place // self.width], torch.eye(self.width)[place % self.width]], 1)
        cheese, mouse = one[:, None].expand(-1, self.cells, -1), one[None].expand(self.cells, -1, -1)
        return torch.cat([cheese, mouse], -1).to(dtype)

    def values(self, policy: Tensor) -> Tensor:
        """Exact values ``[cheese, mouse]`` of a policy ``[cheese, mouse, 4]`` by one batched linear solve."""
        eye = torch.eye(self.cells, dtype=policy.dtype)
        walk = (policy[..., None] * eye[self.arrivals]).sum(-2)
        reward = torch.diagonal(walk.permute(1, 0, 2), dim1=1, dim2=2).mT
        onward = walk * (1 - eye)[:, None, :]
        found = torch.linalg.solve(eye - self.discount * onward, reward[..., None])[..., 0]
        return found * (1 - eye)

    def regret(self, policy: Tensor, levels: Tensor) -> Tensor:
        """V* - V of levels ``[n]`` under a policy ``[cheese, mouse, 4]``."""
        return self.optimal(levels).to(policy.dtype) - self.values(policy)[levels[:, 0], levels[:, 1]]


def uniform_policy(world: GridWorld) -> Tensor:
    """Every action with 1/4 ``[cheese, mouse, 4]``, float64."""
    return torch.full((world.cells, world.cells, 4), 0.25, dtype=torch.float64)


def corner_policy(world: GridWorld) -> Tensor:
    """Up or left with 1/2 each, always."""
    return torch.tensor([0.5, 0.5, 0.0, 0.0], dtype=torch.float64).expand(world.cells, world.cells, 4).clone()


def shortest_corner_policy(world: GridWorld) -> Tensor:
    """Shortest paths to the corner whatever the cheese, ties 1/2; uniform in the corner."""
    end = world.arrivals
    closer = (world.distances[end, 0] < world.distances[:, [0]]).double()
    closer[0] = 1.0
    return (closer / closer.sum(1, keepdim=True)).expand(world.cells, -1, -1).clone()


def wall_policy(world: GridWorld) -> Tensor:
    """Up to the wall, then left, also in the corner."""
    top = torch.arange(world.cells) < world.width
    rows = torch.where(top[:, None], torch.tensor([0.0, 1, 0, 0]), torch.tensor([1.0, 0, 0, 0])).double()
    return rows.expand(world.cells, -1, -1).clone()


def seeking_policy(world: GridWorld) -> Tensor:
    """Shortest paths to the cheese, ties shared: optimal."""
    end = world.arrivals
    closer = torch.stack([(world.distances[end, c] < world.distances[:, [c]]).double() for c in range(world.cells)])
    closer[torch.arange(world.cells), torch.arange(world.cells)] = 1.0
    return closer / closer.sum(-1, keepdim=True)
