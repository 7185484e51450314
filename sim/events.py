"""The flush events of the CPUs of a group of lanes, drawn one by one, and the local cost of each kind."""

from collections.abc import Mapping

import numpy as np

from sim.draws import COMPUTE, ENTRY, KIND, PAGES, Draws
from sim.elementary import sum_rows
from sim.policy import ALL_PAGES, Events, Policy, Targets
from sim.preemption import Preemption
from sim.topology import Shape


def is_full(cost: Mapping[str, np.ndarray], pages: int) -> np.ndarray:
    """Whether a flush of `pages` is a full flush, [lane]."""
    return (pages > cost["ceiling"]) | (pages == ALL_PAGES)


def local_ns(cost: Mapping[str, np.ndarray], pages: int, full_ns: str) -> tuple[np.ndarray, np.ndarray]:
    """The time of a flush of `pages` on one CPU, and whether it is full, both [lane] (C: do_kernel_range_flush()).

    `full_ns` is the name of the cost of a full flush.
    """
    full, span = is_full(cost, pages), cost["flush_fixed_ns"] + pages * cost["invlpg_ns"]
    return np.where(full, cost[full_ns], span), full


class FlushEvents:
    """The flush events of each CPU, drawn one by one: the compute time before the event, and its kind.

    Kinds are the page counts of an alloc in ascending order, then kunmap; the arrays are [kind, lane].
    """

    def __init__(
        self, shape: Shape, cost: Mapping[str, np.ndarray], events: Events, policy: Policy, replicas: np.ndarray
    ) -> None:
        """`replicas` has the replica of each lane.

        Busy CPUs also draw the kernel entries that check the mark; if CPUs share copies of its line, they draw all
        checks, which invalidate the copies.
        """
        lanes = len(replicas)
        self.think_ns = cost["think_ns"]  # [lane]
        self.alloc_share = events.alloc_total / events.total
        alloc = np.where(events.alloc_total > 0, events.alloc_total, 1.0)
        self.cumulative = (events.alloc / alloc).cumsum(axis=0)
        self.cumulative[-1] = 1.0  # the rounding error goes to the longest range
        kinds = [*events.pages, 1]
        if policy.flushes_ranges:
            self.local_ns = np.array([local_ns(cost, pages, policy.full_ns)[0] for pages in kinds])
        else:  # no CPU flushes by its own instructions, so their cost may be unknown
            self.local_ns = np.zeros((len(kinds), lanes))
        if policy.flushes_ranges or policy.targets is Targets.HARDWARE:
            self.full = np.array([is_full(cost, pages) for pages in kinds])
        else:
            self.full = np.zeros((len(kinds), lanes), dtype=bool)
        self.pages = kinds
        self.bookkeeping_ns = np.array(
            [cost["alloc_bookkeeping_ns"]] * len(events.pages) + [cost["kunmap_bookkeeping_ns"]]
        )
        self._replicas, self.replica_row = np.unique(replicas, return_inverse=True)
        constant = (COMPUTE,) if shape.operation == "constant" else ()
        self._draws = Draws(shape.seed, self._replicas, shape.senders, (COMPUTE, KIND, PAGES), constant)
        self.senders, self.busy = shape.senders, shape.busy
        self.checking = policy.kernel_entry is not None or policy.reads_line
        self.all_flush = shape.senders == shape.busy
        self.entry_draws = Draws(shape.seed, self._replicas, shape.busy if self.checking else 0, (ENTRY,))
        self.preemption = Preemption(shape, cost, policy, self._replicas, lanes)
        self._next = np.zeros((shape.senders, lanes), dtype=np.int64)  # draws used, [cpu, lane]
        self._most = 0
        self._lane = np.arange(lanes)

    def tables(self) -> list[np.ndarray]:
        """The current draws, each [replica, cpu, draw].

        These are unit computes, uniforms for kind and pages, unit gaps between kernel entries, and for interrupts a
        uniform for whether the CPU can take them and a unit delay.
        """
        replicas = len(self._replicas)
        return [
            table.reshape(replicas, -1, draws.length) if table.size else np.empty((replicas, 0, draws.length))
            for draws in (self._draws, self.entry_draws, self.preemption.draws)
            for table in draws.tables
        ]

    def draw_ahead(self, events: bool, entries: bool, interrupts: bool = False) -> None:
        """Draw more flush events, kernel entries or interrupts for every CPU."""
        for draws, short in ((self._draws, events), (self.entry_draws, entries), (self.preemption.draws, interrupts)):
            if short:
                draws.reserve(draws.length + 1)

    @property
    def mean_bookkeeping_ns(self) -> np.ndarray:
        """The mean bookkeeping of a flush event, [lane]."""
        return self.alloc_share * self.bookkeeping_ns[0] + (1.0 - self.alloc_share) * self.bookkeeping_ns[-1]

    @property
    def _shares(self) -> np.ndarray:
        """The share of each kind among all flush events, [kind, lane]."""
        alloc = np.diff(self.cumulative, axis=0, prepend=0.0) * self.alloc_share
        return np.concatenate([alloc, [1.0 - self.alloc_share]])

    @property
    def full_share(self) -> np.ndarray:
        """The share of flush events that are full flushes, [lane]."""
        return sum_rows(self._shares * self.full)

    @property
    def mean_range_pages(self) -> np.ndarray:
        """The mean number of pages that a flush event flushes one by one, [lane]."""
        return sum_rows(self._shares * ~self.full * np.array(self.pages)[:, None])

    def draw(self, cpu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute time in ns and kind of the next event of CPU `cpu` [lane]."""
        of_cpu = (cpu, self._lane)
        used = self._next[of_cpu]
        self._most = max(self._most, int(used.max()) + 1)
        self._draws.reserve(self._most)
        self._next[of_cpu] += 1
        at = (self.replica_row * self.senders + cpu) * self._draws.length + used
        compute, which, pages = (table.take(at) for table in self._draws.tables)
        longer = np.where(which < self.alloc_share, pages, 2.0) >= self.cumulative  # per kind
        return compute * self.think_ns, longer.view(np.uint8).sum(axis=0, dtype=np.uint16).astype(np.int64)

    def unit_gaps(self, cpu: np.ndarray, used: np.ndarray, lanes: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The drawn gap of CPU `cpu` to its next check, in mean gaps, after `used` draws; all [..., lane]."""
        draws, replica = self.entry_draws, self.replica_row[lanes]
        draws.reserve(int(used.max()) + 1)
        return draws.tables[0].take((replica * self.busy + cpu) * draws.length + used)

    @property
    def used(self) -> np.ndarray:
        """The number of draws that `draw` has used, [cpu, lane]."""
        return self._next

    def computed_ns(self, used: np.ndarray, end: np.ndarray, now: np.ndarray) -> np.ndarray:
        """The total compute of all senders until `now` [lane], [lane]; NaN if all busy CPUs are senders.

        Each sender has used `used` draws [cpu, lane]; the compute of the last one ends at `end` [cpu, lane].
        """
        total = np.full(len(self.think_ns), np.nan if self.all_flush else 0.0)
        if self.all_flush:  # not needed
            return total
        table = self._draws.tables[0].reshape(len(self._replicas), self.senders, -1)
        until = np.cumsum(table, axis=2)
        for cpu in range(self.senders):  # CPU by CPU, so that lanes do not affect each other
            last = (self.replica_row, cpu, np.maximum(used[cpu] - 1, 0))
            left_ns = np.minimum(np.maximum(end[cpu] - now, 0.0), table[last] * self.think_ns)
            total = total + np.where(used[cpu] > 0, until[last] * self.think_ns - left_ns, 0.0)
        return total

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        names = "think_ns", "alloc_share", "replica_row", "cumulative", "local_ns", "full", "bookkeeping_ns", "_next"
        for name in names:
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[..., lanes]))
        self._lane = np.arange(len(lanes))
