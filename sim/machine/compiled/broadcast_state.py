"""What a lane of the coarse rule remembers: of every CPU, and of every sender's flush event."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class State(NamedTuple):
    """The CPUs of all lanes, every field [lane, cpu]. One is in its sending loop where `start` is NEVER."""

    # the last handler run
    run_begin: np.ndarray
    run_end: np.ndarray  # of that run, or of the CPU's ICR writes after it: no run begins before
    full_run: np.ndarray  # begin of the last run that flushed fully, or by generation at all; NaN: none
    caught_up: np.ndarray  # the generation up to which the CPU has flushed the address space
    run_again: np.ndarray  # begin of the last run that is no handler's, but a flush of who was held; NaN: none
    ran: np.ndarray  # when the CPU was last known to run; ahead where it is held. Only where notes are left
    # the flush event to come, or whose sending loop is in progress
    kind: np.ndarray
    start: np.ndarray
    loop_begin: np.ndarray
    loop_end: np.ndarray
    busy_targets: np.ndarray  # requests of this loop that find a non-empty queue
    generation: np.ndarray  # of the address space, which this flush event counted up to
    # the flush event whose loop ended last
    began: np.ndarray
    last_done: np.ndarray  # last request done
    acked: np.ndarray  # all acks read
    own: np.ndarray  # length of the own flush that ends it
    # where nobody waits: the next loop ends no sooner, because slots of requests are in use, so that is when it ends
    unlocked: np.ndarray
    unlocked_end: np.ndarray
    # misses
    refilled: np.ndarray  # the compute after that event refills already
    refills_next: np.ndarray  # flushed fully while sending: the compute after that refills
    # of the lane, [lane, 1]
    newest: np.ndarray  # generation of the address space
    ended: np.ndarray  # end of the last loop
    turn: np.ndarray  # which of the other busy CPUs is watched
    begun: np.ndarray  # the CPUs have drawn their first flush events


class Event(NamedTuple):
    """The flush event that is served."""

    sender: int
    kind: int
    now: float  # end of its loop
    began: float
    full: bool  # its range is a full flush
    own: float  # length of an own flush at its end,
    own_drops: int  # and what the own flush drops, whenever that is
    runs_fully: bool  # handler runs flush fully for it
    joined: float  # what a request adds to a run that it joins,
    new: float  # the length of a run of its own, without what is flushed by generation,
    extra: float  # and what that takes beyond a request that joins
    miss: float  # misses after a run of its own
    generation: int
    newest: int  # generation that has begun
    range_flush: float  # by generation, in a handler run: what a CPU that missed this event alone takes,
    full_flush: float  # and one that missed more


class Sums(NamedTuple):
    """What the targets of a flush event add up to."""

    marked: int  # targets that get an interrupt,
    marked_senders: int  # those among them that make flush events,
    marked_others: int  # and the other busy ones
    writes: int  # ICR writes
    computing: int  # CPUs that make flush events, found computing by a run,
    disturbed: int  # and by a run of their own
    refills: int
    range_misses: int
    ranges: int  # by generation: busy CPUs that flush the range,
    fulls: int  # or the address space;
    computing_ranges: int  # those of them that it takes from compute
    computing_fulls: int
    notes: int  # targets that are held, and left a note;
    notes_senders: int  # those of them that make flush events,
    notes_others: int  # and the other busy ones
    notes_computing: int  # busy CPUs that compute when they run again, having been left their first note
    last_done: float
    acked: float
