"""The gridworld behind the gymnasium interface, for agents of other libraries."""

import gymnasium
import numpy as np
from gymnasium import spaces

from susceptometer.domains.gridworld import ACTIONS, GridWorld


class CornerCheese(gymnasium.Env):
    """Reach the cheese: observation is a Boolean ``[W, W, 2]`` board (mouse, cheese), reward 1 on arrival.

    Args:
        width: W.
        mix: Probability that a level's cheese lies anywhere instead of in the corner.
        horizon: Steps before truncation.
    """

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(self, width: int = 5, mix: float = 0.1, horizon: int = 88) -> None:
        self.world = GridWorld(width)
        self.mix, self.horizon = mix, horizon
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.observation_space = spaces.Box(0, 1, (width, width, 2), np.uint8)
        self._law = self.world.law(mix).numpy()
        self._cheese = self._mouse = self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """A new level; ``options={"level": (cheese, mouse)}`` chooses it."""
        super().reset(seed=seed)
        number = self.np_random.choice(len(self._law), p=self._law / self._law.sum())
        self._cheese, self._mouse = (options or {}).get("level", self.world.levels[number].tolist())
        self._steps = 0
        return self._board(), self._facts()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Move; arrival ends the episode with reward 1, the horizon truncates it."""
        self._mouse = int(self.world.arrivals[self._mouse, int(action)])
        self._steps += 1
        arrived = self._mouse == self._cheese
        return self._board(), float(arrived), arrived, not arrived and self._steps >= self.horizon, self._facts()

    def render(self) -> str:
        """The board as text: m mouse, c cheese."""
        marks = ["."] * self.world.cells
        marks[self._cheese] = "c"
        marks[self._mouse] = "m"
        wide = self.world.width
        return "\n".join("".join(marks[i : i + wide]) for i in range(0, len(marks), wide))

    def _board(self) -> np.ndarray:
        board = np.zeros((self.world.cells, 2), np.uint8)
        board[self._mouse, 0] = board[self._cheese, 1] = 1
        return board.reshape(self.world.width, self.world.width, 2)

    def _facts(self) -> dict:
        optimal = float(self.world.discount ** (int(self.world.distances[self._cheese, self._mouse]) - 1))
        return {"level": (self._cheese, self._mouse), "optimal_value": optimal}
