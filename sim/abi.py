"""What a policy sees and what it can answer.

The policy decides, the machine does: a policy says how many flush events a build makes, whom to tell, when to flush
here, when a request counts as done, where to leave a note and where notes are looked at. It never queues, prices or
draws.

A policy is one module with these functions; only `flush` is required.

    flush() -> Flush             one flush event
    events(build) -> Events      the flush events of a whole build (default: every kunmap, every alloc)
    switch_to_user() -> Look     looked at where switch_mm_irqs_off() switches to a user task
    tick() -> Look               ... at the periodic tick
    kernel_entry() -> Look       ... on every entry to the kernel
    migration() -> Look          ... where a task is switched in on a CPU it has not run on since
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

ALL_PAGES = -1  # TLB_FLUSH_ALL: a full flush whatever the ceiling


class Targets(Enum):
    """Whom a flush event tells, and waits for."""

    NOBODY = "nobody"
    OTHER_ONLINE = "other online CPUs"  # cpu_online_mask without this CPU
    OTHER_BUSY = "other busy CPUs"  # idle CPUs are left out
    HARDWARE = "hardware broadcast"  # one fabric, first come first served

    @property
    def interrupts(self) -> bool:
        """Whether CPUs are told by interrupt."""
        return self in (Targets.OTHER_ONLINE, Targets.OTHER_BUSY)


class Own(Enum):
    """When the CPU that makes the flush event flushes itself."""

    NEVER = "never"
    AFTER_ACKS = "after the acks"
    AFTER_SENDS = "after the last ICR write, before the acks"
    BEFORE = "before anybody is told"


class Done(Enum):
    """When a request counts as done, so that the sender may read its line."""

    FLUSHED = "its flush ended"
    RUN_BEGUN = "the handler run that takes it began"


class Run(Enum):
    """What a handler run flushes."""

    EACH = "each request's range"
    FIRST_FULLY = "everything at the first request, nothing more at the others"
    NOTHING = "nothing: the request itself is all, as a memory barrier is"


class Line(Enum):
    """The cache line that holds a note."""

    GLOBAL = "one line for all CPUs"
    TASK = "the current task's own line"
    PER_CPU = "one line per CPU"


class How(Enum):
    """How a note is written."""

    PLAIN = "plain read-modify-write"
    ATOMIC = "atomic"
    TEST_FIRST = "read, written only if clear"


@dataclass(frozen=True)
class Post:
    """A note left for the other CPUs: on which line, and how it is written."""

    line: Line
    how: How


@dataclass(frozen=True)
class Flush:
    """One flush event."""

    own: Own
    tell: Targets = Targets.NOBODY
    done: Done = Done.FLUSHED
    run: Run = Run.EACH
    post: Post | None = None
    mutex: bool = False  # one flush event at a time, machine-wide, first come first served

    def __post_init__(self) -> None:
        allowed = {
            Targets.NOBODY: (Own.NEVER, Own.BEFORE),
            Targets.HARDWARE: (Own.NEVER,),
            Targets.OTHER_ONLINE: (Own.NEVER, Own.BEFORE, Own.AFTER_SENDS, Own.AFTER_ACKS),
            Targets.OTHER_BUSY: (Own.NEVER, Own.BEFORE, Own.AFTER_SENDS, Own.AFTER_ACKS),
        }[self.tell]
        if self.own not in allowed or (self.post is not None and self.tell is not Targets.NOBODY):
            raise ValueError(f"no machine does this flush event: {self}")
        if self.mutex and not self.tell.interrupts:
            raise ValueError(f"no machine does this flush event: {self}")


@dataclass(frozen=True)
class Look:
    """A look at the note left on `line`: a full flush where it is set; cleared, or remembered, by the looker."""

    line: Line
    clears: bool = True  # False: a generation is read, nothing is written


@dataclass(frozen=True)
class Build:
    """What a whole build asks of XPFO; every field [lane] unless said."""

    kunmap_events: np.ndarray
    alloc_events: np.ndarray
    pages: tuple[int, ...]  # pages of an alloc, the same for all lanes
    weights: np.ndarray  # [pages, lane], sums to 1 over pages
    pcp_batch: np.ndarray
    pcp_refill_share: np.ndarray
    ownership_change_share: np.ndarray


@dataclass(frozen=True)
class Events:
    """The flush events of a whole build: kunmaps of one page, allocs of `pages[r]` pages."""

    kunmap: np.ndarray  # [lane]
    pages: tuple[int, ...]
    alloc: np.ndarray  # [pages, lane]

    @property
    def total(self) -> np.ndarray:
        """All flush events of the build, [lane]."""
        return self.kunmap + self.alloc_total

    @property
    def alloc_total(self) -> np.ndarray:
        """The alloc events, [lane], summed in order of pages so that lanes do not notice each other."""
        total = np.zeros_like(self.kunmap)
        for row in self.alloc:
            total = total + row
        return total


def every_event(build: Build) -> Events:
    """XPFO's own events: each kunmap and each alloc flushes once (C: xpfo_kunmap(), xpfo_alloc_pages())."""
    return Events(build.kunmap_events, build.pages, build.alloc_events * build.weights)


def batched_allocs(build: Build) -> Events:
    """A share of the order-0 allocs comes from refills of the per-CPU free list: one full flush a refill.

    C: mm/page_alloc.c  rmqueue_bulk()
    """
    pages = (*build.pages, ALL_PAGES)
    alloc = build.alloc_events * build.weights
    refilled = np.zeros_like(build.alloc_events)
    rows = []
    for each, row in zip(build.pages, alloc, strict=True):
        share = build.pcp_refill_share if each == 1 else np.zeros_like(row)
        refilled = refilled + row * share
        rows.append(row * (1.0 - share))
    return Events(build.kunmap_events, pages, np.array([*rows, refilled / build.pcp_batch]))
