"""Random draws, equal for every policy: draw m of CPU k is a compute time, a kind and a number of pages.

One SFC64 stream per (seed, replica, CPU, purpose), so a draw depends on nothing else: not on the policy, the lane,
the chunk or the worker.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import numpy as np

COMPUTE, KIND, PAGES, ENTRY, SWITCH, HELD, HOLD, OVERDUE = range(8)  # purposes
UNIFORM = (KIND, PAGES, HELD)  # the others are exponential, of unit mean
BY_INTERRUPT = (HELD, HOLD)  # one for each interrupt: too many to keep in the cache


def stream(seed: int, replica: int, cpu: int, purpose: int) -> np.random.Generator:
    """The stream of one CPU and purpose, from its beginning."""
    return np.random.Generator(np.random.SFC64([seed, replica, cpu, purpose]))


class _Tape:
    """The draws of one replica for one purpose, an array [cpu, m] that grows on demand; safe for threads."""

    def __init__(self, seed: int, replica: int, purpose: int) -> None:
        self._key = (seed, replica, purpose)
        self._lock = Lock()
        self._drawn: tuple[list[np.random.Generator], np.ndarray] = ([], np.empty((0, 0)))

    def at_least(self, cpus: int, draws: int) -> np.ndarray:
        """An array of at least this many CPUs and draws, which is never written again."""
        with self._lock:
            streams, values = self._drawn
            if values.shape[0] >= cpus and values.shape[1] >= draws:
                return values
            self._drawn = ([], np.empty((0, 0)))  # dropped first, since an exception leaves streams advanced
            streams, values = self._grown(streams, values, cpus, draws)
            self._drawn = (streams, values)
            return values

    def _grown(
        self, streams: list[np.random.Generator], old: np.ndarray, cpus: int, draws: int
    ) -> tuple[list[np.random.Generator], np.ndarray]:
        seed, replica, purpose = self._key
        old_cpus, old_draws = old.shape
        cpus, draws = max(cpus, old_cpus), max(draws, old_draws)
        streams = streams + [stream(seed, replica, k, purpose) for k in range(len(streams), cpus)]
        values = np.empty((cpus, draws))
        values[:old_cpus, :old_draws] = old
        for k, generator in enumerate(streams):
            done = old_draws if k < old_cpus else 0
            if done < draws:
                fresh = generator.random if purpose in UNIFORM else generator.standard_exponential
                values[k, done:] = fresh(draws - done)
        return streams, values


@lru_cache(maxsize=64)
def _tape(seed: int, replica: int, purpose: int) -> _Tape:
    return _Tape(seed, replica, purpose)


class Draws:
    """The draws of some replicas as one flat table per purpose, indexed by (replica row, CPU, m)."""

    def __init__(
        self, seed: int, replicas: np.ndarray, cpus: int, purposes: tuple[int, ...], constant: tuple[int, ...] = ()
    ) -> None:
        """Draws of the purposes in `constant` are all 1, their mean."""
        self._constant = constant
        self._own: dict[tuple[int, int], _Tape] = {}
        self._seed, self._replicas, self._cpus, self._purposes = seed, replicas, cpus, purposes
        self.length = 0  # draws of each CPU in the tables
        self.reserve(64)

    def reserve(self, draws: int) -> None:
        """Make draws 0..draws-1 of every CPU available, and at least double the tables."""
        if draws <= self.length:
            return
        self.length = max(draws, 2 * self.length)
        self.tables = []
        for purpose in self._purposes:
            table = np.empty((len(self._replicas), self._cpus, self.length))
            for row, replica in enumerate(self._replicas):
                if purpose in self._constant:
                    table[row] = 1.0
                    continue
                drawn = self._tape_of(int(replica), purpose).at_least(self._cpus, self.length)
                table[row] = drawn[: self._cpus, : self.length]
            self.tables.append(table.reshape(-1))

    def _tape_of(self, replica: int, purpose: int) -> _Tape:
        if purpose not in BY_INTERRUPT:
            return _tape(self._seed, replica, purpose)
        return self._own.setdefault((replica, purpose), _Tape(self._seed, replica, purpose))
