"""Random draws, equal for every policy: draw m of CPU k is a compute time, a kind and a number of pages.

One SFC64 stream per (seed, replica, CPU, purpose), so a draw depends on nothing else: not on the policy, the lane,
the chunk or the worker.
"""

from functools import lru_cache

import numpy as np

COMPUTE, KIND, PAGES, ENTRY, SWITCH, HELD, HOLD, OVERDUE = range(8)  # purposes
UNIFORM = (KIND, PAGES, HELD)  # the others are exponential, of unit mean
BY_INTERRUPT = (HELD, HOLD)  # one for each interrupt: too many to keep in the cache


def stream(seed: int, replica: int, cpu: int, purpose: int) -> np.random.Generator:
    """The stream of one CPU and purpose, from its beginning."""
    return np.random.Generator(np.random.SFC64([seed, replica, cpu, purpose]))


def _draw(seed: int, replica: int, purpose: int, cpus: int, draws: int) -> np.ndarray:
    """The first draws of one replica for one purpose, [cpu, draw]."""
    out = np.empty((cpus, draws))
    for cpu, row in enumerate(out):
        generator = stream(seed, replica, cpu, purpose)
        row[:] = generator.random(draws) if purpose in UNIFORM else generator.standard_exponential(draws)
    return out


_drawn = lru_cache(maxsize=64)(_draw)  # never written


class Draws:
    """The draws of some replicas as one flat table per purpose, indexed by (replica row, CPU, m)."""

    def __init__(
        self, seed: int, replicas: np.ndarray, cpus: int, purposes: tuple[int, ...], constant: tuple[int, ...] = ()
    ) -> None:
        """Draws of the purposes in `constant` are all 1, their mean."""
        self._constant = constant
        self._seed, self._replicas, self._cpus, self._purposes = seed, replicas.tolist(), cpus, purposes
        self.length = 0  # draws of each CPU in the tables
        self.reserve(64)

    def reserve(self, draws: int) -> None:
        """Make draws 0..draws-1 of every CPU available, and at least double the tables."""
        if draws <= self.length:
            return
        self.length = max(draws, 2 * self.length)
        self.tables = []
        for purpose in self._purposes:
            table = np.ones((len(self._replicas), self._cpus, self.length))
            draw = _draw if purpose in BY_INTERRUPT else _drawn
            for row, replica in enumerate(self._replicas if purpose not in self._constant else []):
                table[row] = draw(self._seed, replica, purpose, self._cpus, self.length)
            self.tables.append(table.reshape(-1))
