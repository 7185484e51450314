"""The common parts of the compiled machines: the arrays of one lane for a loop, and its draws.

A machine has a tuple of arrays and records for each lane; a loop serves the flush events of one lane. Records that
properties of `Machine` read are rows of one array for all lanes. Times are absolute and in ns.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sim.counts import COUNTS, Record, Records, no_counts
from sim.elementary import quantile
from sim.events import FlushEvents
from sim.machine.compiled.jit import compiled, prepare

NEVER = -1e200  # before any time, as in the vectorized engine
ENOUGH, SHORT_OF_EVENTS, SHORT_OF_ENTRIES, SHORT_OF_INTERRUPTS = range(4)  # the reason why a loop returns

Cost = TypeVar("Cost", bound=tuple)

KIND = np.dtype([
    ("cumulative", np.float64),  # share of alloc events up to this kind; 1 for kunmap, the last kind
    ("bookkeeping", np.float64), ("local", np.float64), ("full", np.int64), ("pages", np.int64),
])  # fmt: skip


class Drawn(NamedTuple):
    """The draws for the flush events of a lane, and the costs of each kind of event."""

    compute: np.ndarray  # [cpu, draw] of unit mean
    which: np.ndarray  # [cpu, draw] uniform
    pages: np.ndarray  # [cpu, draw] uniform
    entry: np.ndarray  # [cpu, draw] of unit mean: gaps between the checks that a loop serves
    held: np.ndarray  # [cpu, draw] uniform, for interrupts; empty if all CPUs can take them at once
    hold: np.ndarray  # [cpu, draw] of unit mean: delays of interrupts
    used: np.ndarray  # [cpu] draws of flush events used
    interrupts: np.ndarray  # [cpu] draws of interrupts used
    kinds: Records
    think_ns: float
    alloc_share: float


def records(dtype: np.dtype, shape: int | tuple[int, ...], **values: Any) -> Records:
    """Records with these values in their fields, and 0 in all other fields."""
    out = np.zeros(shape, dtype).view(np.recarray)
    for name, value in values.items():
        out[name] = value
    return out


class Machine:
    """All lanes of a group; `loop` simulates them one after another."""

    def __init__(
        self,
        loop: Callable[..., tuple[int, int]],
        new_lane: Callable[[Drawn, Record, int], Any],
        events: FlushEvents,
        compute_end: Callable[[Any], np.ndarray],
        windows_isolated: Callable[[Any], np.ndarray] = lambda lane: np.empty(0),
    ) -> None:
        """`new_lane(draws, counts, number)` makes the argument of `loop`, a named tuple with a record `state`.

        The loop serves flush events from a row on, copies the counts at the end of each batch, and returns the next row
        and the reason for the return. `compute_end` of a lane has the begin of the next flush event of each sender,
        [cpu], or any time before now if it is in one; `windows_isolated` has the windows of isolated CPUs since
        `reset`.
        """
        self._loop, self._events, self._compute_end = loop, events, compute_end
        self._windows_isolated = windows_isolated
        self.lanes = lanes = len(events.replica_row)
        self._counts, self._row = no_counts(lanes), np.arange(lanes)  # row of each lane in `_counts`
        draws = _draws_of(events)
        self._lanes = [new_lane(draws[lane], self._counts[lane], lane) for lane in range(lanes)]
        nothing = np.empty(0)
        prepare(loop, self._lanes[0], nothing, nothing, no_counts(1), 0)

    @property
    def counts(self) -> Records:
        """Sums over the flush events served since `reset`, [lane]; a copy."""
        return self._counts[self._row]

    @property
    def now(self) -> np.ndarray:
        """Time of the last flush event, [lane]."""
        return np.array([lane.state.now for lane in self._lanes])

    @property
    def computed_ns(self) -> np.ndarray:
        """The total compute of all senders until the last flush event, [lane]."""
        used = np.stack([lane.draws.used for lane in self._lanes], axis=1)
        end = np.stack([self._compute_end(lane) for lane in self._lanes], axis=1)
        return self._events.computed_ns(used, end, self.now)

    @property
    def window_p99_isolated_ns(self) -> np.ndarray:
        """99th percentile of the windows of isolated CPUs since `reset`, [lane]; NaN without such windows."""
        seen = [np.sort(self._windows_isolated(lane)) for lane in self._lanes]
        return np.array([quantile(windows, 0.99) if len(windows) else np.nan for windows in seen])

    def serve(self, waits: np.ndarray, windows: np.ndarray, batches: int = 1) -> Records:
        """Serve one flush event per row in every lane; fill in their waits and windows, [event, lane].

        Returns `counts` after each of `batches` of equal length, [batch, lane].
        """
        counts = records(COUNTS, (self.lanes, batches))
        for number in range(self.lanes):
            of_lane, row, short = (waits[:, number], windows[:, number], counts[number]), 0, SHORT_OF_EVENTS
            while short:
                row, short = self._loop(self._lanes[number], *of_lane, row)
                if short:
                    self._draw_ahead(short)
        return counts.T

    def _draw_ahead(self, short: int) -> None:
        """Extend the draws that a lane is short of; all lanes then use the new tables."""
        self._events.draw_ahead(
            short == SHORT_OF_EVENTS, short == SHORT_OF_ENTRIES, short == SHORT_OF_INTERRUPTS
        )  # fmt: skip
        tables = _tables_of(self._events)
        rows = self._events.replica_row.tolist()
        self._lanes = [
            lane._replace(draws=lane.draws._replace(**tables[row])) for lane, row in zip(self._lanes, rows, strict=True)
        ]

    def reset(self) -> None:
        """Start counting anew."""
        self._counts.view(np.ndarray)[:] = 0

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        self._lanes, self._row = [self._lanes[lane] for lane in lanes.tolist()], self._row[lanes]
        self.lanes = len(lanes)
        self._events.keep(lanes)


def _tables_of(events: FlushEvents) -> list[dict[str, np.ndarray]]:
    """The tables of draws of each replica, by name."""
    tables = events.tables()
    return [dict(zip(Drawn._fields, (table[row] for table in tables), strict=False)) for row in range(len(tables[0]))]


def _draws_of(events: FlushEvents) -> list[Drawn]:
    """The draws of each lane, all unused."""
    tables, lanes = _tables_of(events), len(events.replica_row)
    think_ns, alloc_share = events.think_ns.tolist(), events.alloc_share.tolist()
    kinds = records(KIND, (lanes, len(events.pages)), cumulative=1.0, pages=events.pages)
    kinds.cumulative[:, :-1] = events.cumulative.T
    kinds.bookkeeping, kinds.local, kinds.full = events.bookkeeping_ns.T, events.local_ns.T, events.full.T
    return [
        Drawn(
            **tables[row],
            used=np.zeros(events.senders, dtype=np.int64),
            interrupts=np.zeros(events.preemption.cpus, dtype=np.int64),
            kinds=kinds[lane],
            think_ns=think_ns[lane],
            alloc_share=alloc_share[lane],
        )
        for lane, row in enumerate(events.replica_row.tolist())
    ]


def costs_of(kind: Callable[..., Cost], cost: Mapping[str, np.ndarray], lanes: int, **more: np.ndarray) -> list[Cost]:
    """The costs of each lane by name, without the unit; NaN if the policy does not read a cost."""
    unread = np.full(lanes, np.nan)
    columns = {**cost, **{f"{name}_ns": values for name, values in more.items()}}
    names = kind._fields  # type: ignore[attr-defined]
    found = [columns.get(f"{name}_ns", columns.get(name, unread)).tolist() for name in names]
    return [kind(*values) for values in zip(*found, strict=True)]


@compiled
def end_of_event(counts: Record, batches: Records, events: int, row: int) -> int:
    """Return the next row after an event, and copy the counts after the last event of a batch."""
    length = events // len(batches)
    if (row + 1) % length == 0:
        batches[row // length] = counts
    return row + 1


@compiled
def draw(draws: Drawn, cpu: int) -> tuple[float, int]:
    """The compute time in ns before the next flush event of a CPU, and its kind."""
    at = draws.used[cpu]
    draws.used[cpu] = at + 1
    share = 2.0
    if draws.which[cpu, at] < draws.alloc_share:
        share = draws.pages[cpu, at]
    kind = 0
    for each in range(len(draws.kinds) - 1):
        if share >= draws.kinds[each].cumulative:
            kind += 1
    return draws.compute[cpu, at] * draws.think_ns, kind
