"""What the compiled machines share: their lanes as Python holds them, and what a lane draws and counts.

Every array has one row per lane; a loop sees the row of its own lane. What the vectorized machines remember has the
same name there (`sim/machine/vectorized/state.py`). Times are absolute and in ns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sim.events import FlushEvents
from sim.machine.compiled.jit import compiled, prepare
from sim.metrics import Counts

NEVER = -1e200  # before any time, as in the vectorized state

State = TypeVar("State", bound=tuple)


class Clock(NamedTuple):
    """How far each lane is, every field [lane]."""

    now: np.ndarray  # time of the last flush event
    replica: np.ndarray  # row of its draws
    served: np.ndarray  # flush events of this call


class Tally(NamedTuple):
    """The sums of `sim.metrics.Counts`, every field [lane]."""

    interrupts: np.ndarray
    handler_ns: np.ndarray
    handler_compute_ns: np.ndarray
    refills: np.ndarray
    range_misses: np.ndarray
    queue_ns: np.ndarray
    entries: np.ndarray
    entry_ns: np.ndarray
    entry_flushes: np.ndarray
    notes: np.ndarray
    line_misses: np.ndarray
    line_writes: np.ndarray
    line_clears: np.ndarray


class Source(NamedTuple):
    """The flush events that CPUs draw, and what each kind of them costs."""

    compute: np.ndarray  # [replica, cpu, draw] of unit mean
    which: np.ndarray  # [replica, cpu, draw] uniform
    pages: np.ndarray  # [replica, cpu, draw] uniform
    entry: (
        np.ndarray
    )  # [replica, cpu, draw] of unit mean, between looks at a note that the loop serves; none if it serves none
    held: np.ndarray  # [replica, cpu, draw] uniform, of interrupts; none if all CPUs can take them at once,
    hold: np.ndarray  # and of unit mean
    used: np.ndarray  # [lane, cpu] draws used
    interrupts: np.ndarray  # [lane, cpu] draws used of interrupts,
    most: np.ndarray  # and the most of any CPU, [lane]
    think_ns: np.ndarray  # [lane]
    alloc_share: np.ndarray  # [lane]
    cumulative: np.ndarray  # [lane, kind of alloc] share of alloc events up to each
    bookkeeping_ns: np.ndarray  # [lane, kind]
    local_ns: np.ndarray  # [lane, kind]
    full: np.ndarray  # [lane, kind]
    pages_of: np.ndarray  # [kind]


class Used(NamedTuple):
    """How many draws each lane has used, as `Source` has it."""

    used: np.ndarray
    interrupts: np.ndarray
    most: np.ndarray


class Machine:
    """All lanes of a group, which `serve` simulates one after another."""

    def __init__(
        self,
        loop: Callable[..., tuple[bool, bool, bool]],
        words: tuple,
        costs: np.ndarray,
        events: FlushEvents,
        state: tuple,
        compute_end: Callable[[Any], np.ndarray] = lambda state: state.start,
    ) -> None:
        """`loop` is compiled; `words` are what all lanes share, `costs` [lane, cost], arrays of `state` [lane, ...].

        The loop serves flush events until each lane has as many as there are rows, and answers whether a lane first has
        to draw more of them, whether more kernel entries, and whether more interrupts. `compute_end` of a state is when
        CPUs make their next flush events, [lane, cpu], and any time before now of who is in one.
        """
        self._compute_end = compute_end
        self._loop, self._words, self._costs, self._events, self._state = loop, words, costs, events, state
        self.lanes = len(costs)
        whole = np.zeros(self.lanes, dtype=np.int64)
        self._clock = Clock(np.full(self.lanes, NEVER), events.replica_row, whole)
        used = np.zeros((self.lanes, events.flushers), dtype=np.int64)
        interrupts = np.zeros((self.lanes, events.holds.cpus), dtype=np.int64)
        self._source = _source(events, Used(used, interrupts, whole.copy()))
        self.reset()
        nothing = np.empty((0, self.lanes))
        prepare(loop, *self._arguments(nothing, nothing))

    def _arguments(self, waits: np.ndarray, windows: np.ndarray) -> tuple[Any, ...]:
        return self._words, self._costs, self._source, self._state, self._clock, self._tally, waits, windows

    @property
    def now(self) -> np.ndarray:
        """Time of the last flush event, [lane]."""
        return self._clock.now.copy()

    @property
    def computed_ns(self) -> np.ndarray:
        """How long CPUs have computed until their last flush events, all together, [lane]."""
        return self._events.computed_ns(self._source.used.T, self._compute_end(self._state).T, self._clock.now)

    def serve(self, waits: np.ndarray, windows: np.ndarray) -> None:
        """Serve as many flush events in every lane as there are rows; their waits and windows, [event, lane]."""
        self._clock.served[:] = 0
        while any(short := self._loop(*self._arguments(waits, windows))):
            self._events.draw_ahead(*short)
            self._source = _source(self._events, _used(self._source))

    def reset(self) -> None:
        """Start counting anew."""
        self.counts = Counts.zero(self.lanes)
        self._tally = Tally(*(getattr(self.counts, name) for name in Tally._fields))  # the same memory

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        self._state, self._clock = _keep(self._state, lanes), _keep(self._clock, lanes)
        self._tally = _keep(self._tally, lanes)
        self.counts = Counts(**self._tally._asdict())
        self._costs, self.lanes = self._costs[lanes], len(lanes)
        self._events.keep(lanes)
        self._source = _source(self._events, _keep(_used(self._source), lanes))


def _keep(state: State, lanes: np.ndarray) -> State:
    return type(state)(*(np.ascontiguousarray(values[lanes]) for values in state))


def _used(source: Source) -> Used:
    return Used(source.used, source.interrupts, source.most)


def _source(events: FlushEvents, used: Used) -> Source:
    compute, which, pages, entry, held, hold = events.tables()
    by_kind = (events.cumulative, events.bookkeeping_ns, events.local_ns, events.full)
    cumulative, bookkeeping_ns, local_ns, full = (np.ascontiguousarray(values.T) for values in by_kind)
    return Source(
        compute=compute,
        which=which,
        pages=pages,
        entry=entry,
        held=held,
        hold=hold,
        **used._asdict(),
        think_ns=events.think_ns,
        alloc_share=events.alloc_share,
        cumulative=cumulative,
        bookkeeping_ns=bookkeeping_ns,
        local_ns=local_ns,
        full=full,
        pages_of=np.array(events.pages, dtype=np.int64),
    )


def rows(cost: Mapping[str, np.ndarray], names: Sequence[str], lanes: int) -> np.ndarray:
    """Costs by name as [lane, cost]; NaN where the policy reads none of that name."""
    return np.column_stack([cost.get(name, np.full(lanes, np.nan)) for name in names])


@compiled
def draw(source: Source, replica: int, lane: int, cpu: int) -> tuple[float, int]:
    """Compute time in ns and kind of the next flush event of a CPU."""
    at = source.used[lane, cpu]
    source.used[lane, cpu] = at + 1
    share = 2.0
    if source.which[replica, cpu, at] < source.alloc_share[lane]:
        share = source.pages[replica, cpu, at]
    kind = 0
    for each in range(source.cumulative.shape[1]):
        if share >= source.cumulative[lane, each]:
            kind += 1
    return source.compute[replica, cpu, at] * source.think_ns[lane], kind


@compiled
def hold(source: Source, replica: int, lane: int, cpu: int, share: float, mean: float) -> float:
    """How long a CPU cannot take the next interrupt that it gets, in ns: mostly 0."""
    at = source.interrupts[lane, cpu]
    source.interrupts[lane, cpu] = at + 1
    source.most[lane] = max(source.most[lane], at + 1)
    return source.hold[replica, cpu, at] * mean if source.held[replica, cpu, at] < share else 0.0
