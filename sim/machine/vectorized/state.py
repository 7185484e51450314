"""The state of the vectorized machines, and their working memory.

The last axis of every array is the lane. The compiled loops have the same names for their state.
Times are absolute and in ns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from sim.arrays import Flags, Times, aligned, fill
from sim.counts import Records, no_counts
from sim.events import FlushEvents

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    State = TypeVar("State", bound=DataclassInstance)

# Before any time. It is finite, since differences of two are taken; negative, since times begin at 0, so that the sign
# bit alone distinguishes it from a time; and so low that no sum with a cost is a time.
NEVER = -1e200


def keep(state: State, lanes: np.ndarray) -> State:
    """The state of these lanes (indices), copied."""
    return type(state)(**{field.name: aligned(getattr(state, field.name)[..., lanes]) for field in fields(state)})


def view(state: State, rows: slice) -> State:
    """A view of the state of some rows."""
    return type(state)(**{field.name: getattr(state, field.name)[rows] for field in fields(state)})


@dataclass
class Served:
    """The flush event that the last step served; every field is [lane]."""

    now: np.ndarray  # time of the flush event
    wait_ns: np.ndarray  # length of a finished flush event
    window_ns: np.ndarray  # stale window of another busy CPU; NaN if it is on the slow time scale

    @classmethod
    def nothing(cls, lanes: int) -> Served:
        """Before the first step: time 0, nothing measured."""
        return cls(np.zeros(lanes), np.zeros(lanes), np.full(lanes, np.nan))


class Steps:
    """A `Machine` without `step` and `keep`, which serves one flush event in every lane per step."""

    lanes: int
    served: Served
    source: FlushEvents
    tally: Records  # counts, [lane]

    def step(self) -> None:
        """Serve the next flush event of every lane."""
        raise NotImplementedError

    @property
    def compute_end(self) -> np.ndarray:
        """The begin of the next flush event of each sender, [cpu, lane]; any time before now if it is in one."""
        raise NotImplementedError

    @property
    def now(self) -> np.ndarray:
        """Time of the last flush event, [lane]."""
        return self.served.now

    @property
    def window_p99_isolated_ns(self) -> np.ndarray:
        """NaN, [lane]: only the compiled engine has isolated CPUs."""
        return np.full(self.lanes, np.nan)

    @property
    def computed_ns(self) -> np.ndarray:
        """The total compute of all senders until the last flush event, [lane]."""
        return self.source.computed_ns(self.source.used, self.compute_end, self.now)

    def serve(self, waits: np.ndarray, windows: np.ndarray, batches: int = 1) -> Records:
        """Serve one flush event per row in every lane; fill in their waits and windows, [event, lane].

        Returns `counts` after each of `batches` of equal length, [batch, lane].
        """
        counts = np.repeat(no_counts(self.lanes)[None], batches, axis=0)
        for row in range(len(waits)):
            self.step()
            waits[row], windows[row] = self.served.wait_ns, self.served.window_ns
            counts[row * batches // len(waits)] = self.tally
        return counts

    def reset(self) -> None:
        """Start counting anew."""
        self.tally = no_counts(self.lanes)

    @property
    def counts(self) -> Records:
        """Sums over the flush events served since `reset`, [lane]; a copy."""
        return self.tally.copy()


@dataclass
class Cpus:
    """The last handler run of every CPU that requests can reach; every field is [cpu, lane]."""

    run_begin: np.ndarray  # begin of the run, which takes the queue `irq_entry_ns` later
    run_end: np.ndarray  # end of the run, or of later ICR writes: no run begins before
    full_run: np.ndarray  # begin of the last run with a full flush; NaN: none

    @classmethod
    def idle(cls, rows: int, reachable: int, lanes: int) -> Cpus:
        """CPUs without a run yet. Rows from `reachable` on are padding: they are never marked, since no run begins."""
        run_begin = fill((rows, lanes), NEVER)
        run_begin[reachable:] = -NEVER
        return cls(
            run_begin=run_begin,
            run_end=fill((rows, lanes), NEVER),
            full_run=fill((rows, lanes), np.nan),
        )


@dataclass
class Senders:
    """The senders; every field is [sender, lane]."""

    # the flush event that is next or in its sending loop
    kind: np.ndarray  # index of its kind
    start: np.ndarray
    loop_end: np.ndarray
    # the last flush event after its loop
    began: np.ndarray
    last_done: np.ndarray  # end of its last request
    acked: np.ndarray  # end of the reads of acks
    own: np.ndarray  # length of the local flush that ends it
    # misses
    refilled: np.ndarray  # whether the compute after that event refills already
    refills_next: np.ndarray  # flushed fully during the sending loop, so the next compute refills

    @classmethod
    def computing(cls, senders: int, lanes: int) -> Senders:
        """Senders without flush events."""
        shape = (senders, lanes)
        return cls(
            kind=fill(shape, 0, np.int64),
            start=fill(shape, 0.0),
            loop_end=fill(shape, 0.0),
            began=fill(shape, 0.0),
            last_done=fill(shape, NEVER),
            acked=fill(shape, 0.0),
            own=fill(shape, 0.0),
            refilled=fill(shape, 0, bool),
            refills_next=fill(shape, 0, bool),
        )


@dataclass(frozen=True)
class Sender:
    """The sender of the served flush event in each lane; flat indices are for [cpu, lane] or [kind, lane] arrays."""

    cpu: np.ndarray
    at: np.ndarray  # flat index of the CPU
    kind_at: np.ndarray  # flat index of the kind of its flush event
    now: np.ndarray  # end of its loop
    began: np.ndarray
    socket: np.ndarray
    full: np.ndarray  # whether its range needs a full flush
    local_ns: np.ndarray  # length of the local flush after the loop
    local_full: np.ndarray  # whether the local flush is full
    local_flushes: np.ndarray  # whether there is a local flush
    run_begin: np.ndarray  # begin of the last handler run on the sender
    run_end: np.ndarray
    full_run: np.ndarray


@dataclass(frozen=True)
class Room:
    """Working memory of the receivers, reused for each block of rows, so that no step allocates large arrays.

    Its contents are valid within one call of `mark`, `run` or `acks`. Rows are those of a block.
    """

    resume: Times  # begin of a new run, or continuation of a joined run
    work: Times  # length of a run, then its delay of other work
    free: Times  # end of the flush event on the CPU of a run
    part: Times  # masked times
    row_mask: np.ndarray  # int64 mask for the CPUs of a block
    sender_mask: np.ndarray  # int64 mask for the senders, its first rows
    here: Flags
    there: Flags
    computing: Flags

    @classmethod
    def empty(cls, rows: int, lanes: int) -> Room:
        """Room for blocks of this many rows, values unset."""
        return cls(
            resume=Times.empty(rows, lanes),
            work=Times.empty(rows, lanes),
            free=Times.empty(rows, lanes),
            part=Times.empty(rows, lanes),
            row_mask=Times.empty(rows, lanes).bits,
            sender_mask=Times.empty(rows, lanes).bits,
            here=Flags.empty(rows, lanes),
            there=Flags.empty(rows, lanes),
            computing=Flags.empty(rows, lanes),
        )
