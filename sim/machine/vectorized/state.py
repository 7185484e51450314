"""The state of the vectorized machines, and the memory that they work in.

The last axis of every array is the lane. What the compiled loops remember has the same name there.
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

# Before any time. Finite, because two of them are subtracted; negative, because times begin at 0, so that the sign bit
# alone tells it from a time; and so long ago that no cost which is added to it leads to a time.
NEVER = -1e200


def keep(state: State, lanes: np.ndarray) -> State:
    """The state of these lanes (indices) alone, in arrays of its own."""
    return type(state)(**{field.name: aligned(getattr(state, field.name)[..., lanes]) for field in fields(state)})


def view(state: State, rows: slice) -> State:
    """The state of some rows, in the same memory."""
    return type(state)(**{field.name: getattr(state, field.name)[rows] for field in fields(state)})


@dataclass
class Served:
    """The flush event that the last step served, every field [lane]."""

    now: np.ndarray  # its time
    wait_ns: np.ndarray  # length of a flush event that is over
    window_ns: np.ndarray  # how long another busy CPU could use what was flushed; NaN: not known on this scale

    @classmethod
    def nothing(cls, lanes: int) -> Served:
        """Before the first step: time 0, nothing measured."""
        return cls(np.zeros(lanes), np.zeros(lanes), np.full(lanes, np.nan))


class Steps:
    """A machine that serves one flush event in every lane at a step; all but `step` and `keep` of a `Machine`."""

    lanes: int
    served: Served
    source: FlushEvents
    tally: Records  # what is counted, [lane]

    def step(self) -> None:
        """Serve the next flush event of every lane."""
        raise NotImplementedError

    @property
    def compute_end(self) -> np.ndarray:
        """When CPUs make their next flush event, [cpu, lane]; any time before now in one."""
        raise NotImplementedError

    @property
    def now(self) -> np.ndarray:
        """Time of the last flush event, [lane]."""
        return self.served.now

    @property
    def window_p99_isolated_ns(self) -> np.ndarray:
        """Of isolated CPUs, which only the compiled engine has, [lane]."""
        return np.full(self.lanes, np.nan)

    @property
    def computed_ns(self) -> np.ndarray:
        """How long CPUs have computed until their last flush events, all together, [lane]."""
        return self.source.computed_ns(self.source.used, self.compute_end, self.now)

    def serve(self, waits: np.ndarray, windows: np.ndarray, batches: int = 1) -> Records:
        """Serve as many flush events in every lane as there are rows; their waits and windows, [event, lane].

        `counts` after each of `batches` of equal length, [batch, lane].
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
    """The last handler run of every CPU that requests can reach, every field [cpu, lane]."""

    run_begin: np.ndarray  # it takes the queue one `irq_entry_ns` later
    run_end: np.ndarray  # of that run, or of the CPU's ICR writes after it: no run begins before
    full_run: np.ndarray  # begin of the last run that flushed fully; NaN: none

    @classmethod
    def idle(cls, rows: int, reachable: int, lanes: int) -> Cpus:
        """No run yet. Rows from `reachable` on are padding: a run there has always begun, so none is asked for."""
        run_begin = fill((rows, lanes), NEVER)
        run_begin[reachable:] = -NEVER
        return cls(
            run_begin=run_begin,
            run_end=fill((rows, lanes), NEVER),
            full_run=fill((rows, lanes), np.nan),
        )


@dataclass
class Senders:
    """The CPUs that make flush events by interrupt, every field [sender, lane]."""

    # the flush event to come, or whose sending loop is in progress
    kind: np.ndarray  # index of its kind
    start: np.ndarray
    loop_end: np.ndarray
    # the flush event whose loop ended last
    began: np.ndarray
    last_done: np.ndarray  # last request done
    acked: np.ndarray  # all acks read
    own: np.ndarray  # length of the local flush that ends it
    # misses
    refilled: np.ndarray  # the compute after that event refills already
    refills_next: np.ndarray  # flushed fully while sending: the compute after that refills

    @classmethod
    def computing(cls, senders: int, lanes: int) -> Senders:
        """No flush event yet, and none to come."""
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
    """The CPU whose flush event is served in each lane; flat indices are of [cpu, lane] or [kind, lane] arrays."""

    cpu: np.ndarray
    at: np.ndarray  # flat index of the CPU
    kind_at: np.ndarray  # flat index of the kind of its flush event
    now: np.ndarray  # end of its loop
    began: np.ndarray
    socket: np.ndarray
    full: np.ndarray  # whether its range is a full flush
    local_ns: np.ndarray  # length of a local flush at its end
    local_full: np.ndarray  # whether the local flush, whenever that is, is full,
    local_flushes: np.ndarray  # and whether there is one
    run_begin: np.ndarray  # of its own last handler run
    run_end: np.ndarray
    full_run: np.ndarray


@dataclass(frozen=True)
class Room:
    """Memory that the receivers work in, block of rows after block of rows, so that no step allocates large arrays.

    Nothing in it outlives a call of `mark`, `run` or `acks`. Rows are those of a block.
    """

    resume: Times  # when a run begins, or where one that a request joins goes on
    work: Times  # how long a run takes; then how long that delays what it finds on its CPU
    free: Times  # end of the flush event that a run finds
    part: Times  # what a mask leaves of one of the times
    row_mask: np.ndarray  # int64, of the CPUs of a block
    sender_mask: np.ndarray  # int64, of the senders among them, its first rows
    here: Flags
    there: Flags
    computing: Flags

    @classmethod
    def empty(cls, rows: int, lanes: int) -> Room:
        """Room for blocks of so many rows, values unset."""
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
