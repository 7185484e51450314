"""The definition of a policy: one typed value in a separate file.

A policy defines the number of flush events of a build, their IPI targets, the time of the local flush, when a request
counts as done, the line of the pending bits and the places where other CPUs check them. The engine does all the rest:
queues, counts, costs and random numbers.

A policy is one module with one public name, `POLICY`:

    POLICY = Policy(local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.PLAIN), switch_to_user=Check(Line.GLOBAL))
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any

import numpy as np

from sim.elementary import sum_rows

ALL_PAGES = -1  # TLB_FLUSH_ALL: a full flush, whatever the ceiling is


class Targets(Enum):
    """The CPUs that a flush event notifies and waits for."""

    NOBODY = "no CPU"
    OTHER_ONLINE = "other online CPUs"  # cpu_online_mask without this CPU
    OTHER_BUSY = "other busy CPUs"  # idle CPUs are left out
    # A preempted vCPU (a share `preempted_share`) is marked pending, and flushes fully when it runs again.
    OTHER_RUNNING = "other running CPUs"
    # A CPU in user mode is marked pending, and flushes fully at its next kernel entry, before it can use a stale entry.
    OTHER_IN_KERNEL = "other CPUs in the kernel"
    OTHER_HOUSEKEEPING = "other CPUs, isolated ones only in the kernel"
    HARDWARE = "hardware broadcast"  # one fabric, first come first served

    @property
    def interrupts(self) -> bool:
        """Whether CPUs are notified by interrupt."""
        return self not in (Targets.NOBODY, Targets.HARDWARE)

    @property
    def looks_for_user_mode(self) -> bool:
        """Whether CPUs in user mode are marked pending, and not interrupted."""
        return self in (Targets.OTHER_IN_KERNEL, Targets.OTHER_HOUSEKEEPING)

    @property
    def marks(self) -> bool:
        """Whether CPUs that are preempted or in user mode are marked pending, and not interrupted."""
        return self is Targets.OTHER_RUNNING or self.looks_for_user_mode


class Local(Enum):
    """The time of the local flush in a flush event."""

    NEVER = "never"
    AFTER_ACKS = "after the acks"
    AFTER_SENDS = "after the last ICR write, before the acks"
    FIRST = "before other CPUs are notified"


class Done(Enum):
    """When a request counts as done, so that the sender can read the ack."""

    FLUSHED = "its flush has ended"
    RUN_BEGUN = "its handler run has begun"
    # The sender does not wait; csd_lock() of its next request to the same CPU waits until this one is done.
    SENT = "it has been sent"


class Run(Enum):
    """The flushes of a handler run."""

    EACH = "each request's range"
    FIRST_FULLY = "everything at the first request, nothing at the others"
    NOTHING = "nothing, as for a memory barrier"
    CATCH_UP = "flushes of one address space that its CPU has missed, by generation"
    CATCH_UP_READING = "flushes that its CPU has missed; each request reads the newest generation"

    @property
    def catches_up(self) -> bool:
        """Whether each CPU keeps the generation up to which it has flushed an address space."""
        return self in (Run.CATCH_UP, Run.CATCH_UP_READING)


class Line(Enum):
    """The cache line of the pending bits."""

    GLOBAL = "one line for all CPUs"
    TASK = "one line per task"
    PER_CPU = "one line per CPU"
    NODE = "one line per socket"


class Write(Enum):
    """How a mark is written to its line."""

    PLAIN = "plain read-modify-write"
    ATOMIC = "atomic"
    TEST_FIRST = "read first, written only where a bit to set is clear"  # atomically, so that no mark is lost


@dataclass(frozen=True)
class Mark:
    """The mark that makes other CPUs pending: its line, and how it is written. Raises TypeError or ValueError.

    A CPU whose mark is `deadline_ns` old is interrupted, and flushes fully; by default there is no deadline.
    """

    line: Line
    write: Write
    deadline_ns: float = inf

    def __post_init__(self) -> None:
        _expect(self, line=Line, write=Write, deadline_ns=int | float)
        if not self.deadline_ns >= 0.0:
            raise ValueError(f"deadline_ns={self.deadline_ns!r}: must be at least 0")
        if self.deadline_ns < inf and self.write is Write.TEST_FIRST:
            raise ValueError(f"deadline_ns={self.deadline_ns:g}: must be inf with {self.write}: no engine models it")
        if self.write not in MARKS[self.line]:
            ways = " or ".join(f"Write.{write.name}" for write in MARKS[self.line])
            raise ValueError(f"write={self.write}: must be {ways} with {self.line}")

    @property
    def reads_line(self) -> bool:
        """Whether CPUs read a line with pending bits of several CPUs, so that they share copies of it."""
        return self.write is Write.TEST_FIRST and self.line in (Line.GLOBAL, Line.NODE)


MARKS = {  # the ways to write each line that an engine models
    Line.GLOBAL: (Write.PLAIN, Write.ATOMIC, Write.TEST_FIRST),
    Line.TASK: (Write.PLAIN,),  # only the task itself writes it
    Line.PER_CPU: (Write.TEST_FIRST,),
    Line.NODE: (Write.TEST_FIRST,),
}


@dataclass(frozen=True)
class Check:
    """A check of the mark on `line`: if it is pending, the CPU flushes fully, and clears or remembers the mark."""

    line: Line
    clears: bool = True  # False: the CPU reads a generation and writes nothing

    def __post_init__(self) -> None:
        _expect(self, line=Line, clears=bool)
        if not self.clears and self.line is not Line.GLOBAL:
            raise ValueError(f"clears=False: must be True with {self.line}; a generation is only on {Line.GLOBAL}")


@dataclass(frozen=True)
class Build:
    """The work of a whole build for XPFO; every field is [lane] unless noted."""

    kunmap_events: np.ndarray
    alloc_events: np.ndarray
    pages: tuple[int, ...]  # page counts of allocs, the same for all lanes
    weights: np.ndarray  # [pages, lane], sums to 1 over pages
    pcp_batch: np.ndarray
    pcp_refill_share: np.ndarray
    ownership_change_share: np.ndarray
    pool_pages: np.ndarray


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
        """The alloc events, [lane]."""
        return sum_rows(self.alloc)


def every_event(build: Build) -> Events:
    """The flush events of XPFO itself: one for each kunmap and alloc (C: xpfo_kunmap(), xpfo_alloc_pages())."""
    return Events(build.kunmap_events, build.pages, build.alloc_events * build.weights)


def batched_allocs(build: Build) -> Events:
    """A share of the order-0 allocs comes from refills of the per-CPU free list, with one full flush for each refill.

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


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A TLB-flush policy. Raises TypeError or ValueError, in a sentence, where no engine models it."""

    # one flush event
    local: Local
    targets: Targets = Targets.NOBODY
    done: Done = Done.FLUSHED
    run: Run = Run.EACH
    mark: Mark | None = None
    mutex: bool = False  # one flush event at a time on the machine, first come first served
    # the places where other CPUs check the mark
    switch_to_user: Check | None = None  # switch_mm_irqs_off() to a user task
    tick: Check | None = None  # the periodic tick
    kernel_entry: Check | None = None  # every entry to the kernel
    migration: Check | None = None  # the first switch to a task on its new CPU
    # the flush events of a whole build; `build` is False where they are system calls of a closed loop
    events: Callable[[Build], Events] = every_event
    build: bool = True
    presupposes: str = ""  # needs that no kernel meets, or not every machine

    def __post_init__(self) -> None:
        _expect(self, local=Local, targets=Targets, done=Done, run=Run, mark=Mark | None, mutex=bool, build=bool)
        _expect(self, presupposes=str, **dict.fromkeys(PLACES, Check | None))
        if not callable(self.events):
            raise TypeError(f"Policy: events={self.events!r}: must be a function of a Build that returns Events")
        self._check_flush()
        self._check_checks()

    def _check_flush(self) -> None:
        """ValueError where the fields of a flush event contradict each other."""
        with_targets = f"with {self.targets}"
        among = LOCAL_FLUSHES.get(self.targets, tuple(Local))
        if self.local not in among:
            raise ValueError(f"local={self.local}: must be {' or '.join(map(str, among))} {with_targets}")
        if self.mark is not None and self.targets is not Targets.NOBODY:
            raise ValueError(f"mark: must be None {with_targets}: these CPUs are notified already")
        if self.targets.interrupts:
            if self.done is Done.SENT and self.local is Local.AFTER_ACKS:
                raise ValueError(f"local={self.local}: must be another value {with_targets}: {self.done} has no acks")
            return
        for word, default in (("done", Done.FLUSHED), ("run", Run.EACH), ("mutex", False)):
            if getattr(self, word) is not default:
                raise ValueError(f"{word}={getattr(self, word)}: must be {default}: {self.targets} makes no requests")

    def _check_checks(self) -> None:
        """ValueError where the checks do not fit the mark."""
        mark, checks = self.mark, self.checks
        if mark is None:
            if checks:
                raise ValueError(f"{next(iter(checks))}: checks a mark, but no CPU is marked pending: give a mark")
            return
        if not checks and not self.has_deadline:
            raise ValueError(f"mark: no CPU checks it: give {', '.join(PLACES[:-1])} or migration")
        for place, check in checks.items():
            if check.line is not mark.line:
                raise ValueError(f"{place}: line={check.line}: must be {mark.line}, the line of the mark")
            if not check.clears and mark.write is not Write.ATOMIC:
                raise ValueError(f"{place}: clears=False: must be True for a mark that is not {Write.ATOMIC}")
            if mark.line is Line.TASK and place != "migration":
                raise ValueError(f"{place}: must be None with {mark.line}, which is checked only by migration")
            if place == "kernel_entry" and mark.reads_line:
                raise ValueError(f"kernel_entry: must be None with {mark.write}: no engine models these checks")
            if place == "kernel_entry" and self.has_deadline:
                raise ValueError(
                    f"kernel_entry: must be None with deadline_ns={mark.deadline_ns:g}: no engine models both"
                )
            if place == "kernel_entry" and mark.line is not Line.GLOBAL:
                raise ValueError(f"kernel_entry: must be None with {mark.line}: engines model only {Line.GLOBAL}")
        if len({check.clears for check in checks.values()}) > 1:
            raise ValueError(f"{' and '.join(checks)}: clears must be the same in all checks of a mark")
        if {"switch_to_user", "migration"} <= set(checks):
            raise ValueError("migration: must be None with switch_to_user, which checks already when a task arrives")

    @property
    def checks(self) -> dict[str, Check]:
        """The checks of the mark, by place."""
        return {place: check for place in PLACES if (check := getattr(self, place)) is not None}

    @property
    def flushes_ranges(self) -> bool:
        """Whether CPUs flush by their own instructions, on the sender or in a handler."""
        return self.local is not Local.NEVER or self.targets.interrupts

    @property
    def reads_line(self) -> bool:
        """Whether CPUs share copies of the line of the mark."""
        return self.mark is not None and self.mark.reads_line

    @property
    def has_deadline(self) -> bool:
        """Whether a CPU is interrupted when its mark is too old."""
        return self.mark is not None and self.mark.deadline_ns < inf

    @property
    def full_ns(self) -> str:
        """The name of the cost of a full flush: of one address space if it has generations, else of the whole TLB."""
        return "flush_mm_ns" if self.run.catches_up else "flush_all_ns"

    def count(self, build: Build) -> Events:
        """The flush events of a build, as float64; ValueError or TypeError where `events` returns a wrong value."""
        events, lanes = self.events(build), len(build.kunmap_events)
        if not isinstance(events, Events):
            raise TypeError(f"events() returns {type(events).__name__}: must be Events")
        pages = tuple(events.pages)
        if not pages or not all(isinstance(each, int) and (each >= 1 or each == ALL_PAGES) for each in pages):
            raise ValueError(f"events(): pages={pages}: must be one or more whole numbers from 1, or ALL_PAGES")
        counts = {}
        for name, shape in (("kunmap", (lanes,)), ("alloc", (len(pages), lanes))):
            count = np.asarray(getattr(events, name))
            if count.dtype.kind not in "fiu" or count.shape != shape:
                raise ValueError(f"events(): {name} is {count.dtype} {count.shape}: must be numbers of shape {shape}")
            if not (np.isfinite(count) & (count >= 0)).all():
                raise ValueError(f"events(): {name} has values that are negative, infinite or NaN")
            counts[name] = count.astype(np.float64)
        return Events(counts["kunmap"], pages, counts["alloc"])


PLACES = ("switch_to_user", "tick", "kernel_entry", "migration")
LOCAL_FLUSHES = {Targets.NOBODY: (Local.NEVER, Local.FIRST), Targets.HARDWARE: (Local.NEVER,)}  # with interrupts: all


def _expect(words: object, **kinds: Any) -> None:
    """TypeError where a field has a value of the wrong type."""
    for name, kind in kinds.items():
        value = getattr(words, name)
        if not isinstance(value, kind):
            said = str(getattr(kind, "__name__", kind)).replace("sim.policy.", "").replace(" | ", " or ")
            raise TypeError(f"{type(words).__name__}: {name}={value!r}: must be a {said}")
