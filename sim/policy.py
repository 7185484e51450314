"""What a policy can say: one typed value in a file of its own.

The policy decides, the machine does: a policy says how many flush events a build makes, whom they interrupt, when the
local TLB is flushed, when a request counts as done, where other CPUs are marked pending and where they check the mark.
It never queues, counts, prices or draws.

A policy is one module with one public name, `POLICY`:

    POLICY = Policy(local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.PLAIN), switch_to_user=Check(Line.GLOBAL))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any

import numpy as np

ALL_PAGES = -1  # TLB_FLUSH_ALL: a full flush whatever the ceiling


class Targets(Enum):
    """The CPUs that a flush event notifies, and waits for."""

    NOBODY = "nobody"
    OTHER_ONLINE = "other online CPUs"  # cpu_online_mask without this CPU
    OTHER_BUSY = "other busy CPUs"  # idle CPUs are left out
    # A preempted vCPU, `held_share` of them, is marked pending, and flushes fully when it runs again.
    OTHER_RUNNING = "other running CPUs"
    # A CPU in user mode is marked pending, and flushes fully at its next kernel entry, before it can use a stale entry:
    OTHER_IN_KERNEL = "other CPUs in the kernel"  # any such CPU,
    OTHER_HOUSEKEEPING = "other CPUs, of isolated ones those in the kernel"  # or only an isolated one
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
        """Whether CPUs that are away, preempted or in user mode, are marked pending, and not interrupted."""
        return self is Targets.OTHER_RUNNING or self.looks_for_user_mode


class Local(Enum):
    """When the CPU that makes the flush event flushes its own TLB."""

    NEVER = "never"
    AFTER_ACKS = "after the acks"
    AFTER_SENDS = "after the last ICR write, before the acks"
    FIRST = "before anybody is notified"


class Done(Enum):
    """When a request counts as done, so that the sender may read its line."""

    FLUSHED = "its flush ended"
    RUN_BEGUN = "the handler run that takes it began"
    # Nobody waits. The request's own memory is free again when its run has done it: csd_lock() of the next one waits.
    SENT = "it was sent"


class Run(Enum):
    """What a handler run flushes."""

    EACH = "each request's range"
    FIRST_FULLY = "everything at the first request, nothing more at the others"
    NOTHING = "nothing: the request itself is all, as a memory barrier is"
    CATCH_UP = "what its CPU has missed of one address space, by generation; nothing where it has missed nothing"
    CATCH_UP_READING = "the same, after reading the newest generation, also where it has missed nothing"

    @property
    def catches_up(self) -> bool:
        """Whether CPUs remember up to which generation they have flushed an address space."""
        return self in (Run.CATCH_UP, Run.CATCH_UP_READING)


class Line(Enum):
    """The cache line that holds pending bits."""

    GLOBAL = "one line for all CPUs"
    TASK = "the current task's own line"
    PER_CPU = "one line per CPU"
    NODE = "one line per socket"


class Write(Enum):
    """How a mark is written."""

    PLAIN = "plain read-modify-write"
    ATOMIC = "atomic"
    TEST_FIRST = "read, written only if something that it sets is clear"  # atomically: no mark is lost


@dataclass(frozen=True)
class Mark:
    """Other CPUs are marked pending: on which line, and how it is written. Raises TypeError or ValueError.

    A CPU whose mark is `deadline_ns` old is interrupted, and flushes fully; by default no CPU ever is.
    """

    line: Line
    write: Write
    deadline_ns: float = inf

    def __post_init__(self) -> None:
        _expect(self, line=Line, write=Write, deadline_ns=int | float)
        if not self.deadline_ns >= 0.0:
            raise ValueError(f"deadline_ns={self.deadline_ns!r}: must be at least 0")
        if self.deadline_ns < inf and self.write is Write.TEST_FIRST:
            raise ValueError(f"deadline_ns={self.deadline_ns:g}: no machine models it of a mark that is {self.write}")
        if self.write not in MARKS[self.line]:
            ways = " or ".join(f"Write.{write.name}" for write in MARKS[self.line])
            raise ValueError(f"{self.line} is written {ways}: no machine models {self.write}")

    @property
    def reads_line(self) -> bool:
        """Whether CPUs read a line that holds the pending bits of several CPUs, so that they share copies of it."""
        return self.write is Write.TEST_FIRST and self.line in (Line.GLOBAL, Line.NODE)


MARKS = {  # the ways to write each line that a machine models
    Line.GLOBAL: (Write.PLAIN, Write.ATOMIC, Write.TEST_FIRST),
    Line.TASK: (Write.PLAIN,),  # only its own task writes it
    Line.PER_CPU: (Write.TEST_FIRST,),
    Line.NODE: (Write.TEST_FIRST,),
}


@dataclass(frozen=True)
class Check:
    """A check of the mark on `line`: a full flush where it is pending; cleared, or remembered, by who checks."""

    line: Line
    clears: bool = True  # False: a generation is read, nothing is written

    def __post_init__(self) -> None:
        _expect(self, line=Line, clears=bool)
        if not self.clears and self.line is not Line.GLOBAL:
            raise ValueError(f"a generation stands on {Line.GLOBAL}: no machine models clears=False on {self.line}")


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


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A TLB-flush policy. Raises TypeError or ValueError, in a sentence, where no machine models what it says."""

    # one flush event
    local: Local
    targets: Targets = Targets.NOBODY
    done: Done = Done.FLUSHED
    run: Run = Run.EACH
    mark: Mark | None = None
    mutex: bool = False  # one flush event at a time, machine-wide, first come first served
    # where other CPUs check the mark
    switch_to_user: Check | None = None  # switch_mm_irqs_off() to a user task
    tick: Check | None = None  # the periodic tick
    kernel_entry: Check | None = None  # every entry to the kernel
    migration: Check | None = None  # a task is switched in on a CPU it has not run on since
    # the flush events of a whole build; where they are system calls of a loop, `build` is False
    events: Callable[[Build], Events] = every_event
    build: bool = True
    presupposes: str = ""  # what has to be there that no kernel has, or not every machine

    def __post_init__(self) -> None:
        _expect(self, local=Local, targets=Targets, done=Done, run=Run, mark=Mark | None, mutex=bool, build=bool)
        _expect(self, presupposes=str, **dict.fromkeys(PLACES, Check | None))
        if not callable(self.events):
            raise TypeError(f"Policy: events={self.events!r}: must be a function of a Build that returns Events")
        self._check_flush()
        self._check_checks()

    def _check_flush(self) -> None:
        """ValueError where the words of a flush event do not fit one another."""
        with_targets = f"no machine does this flush event: with {self.targets}"
        among = LOCAL_FLUSHES[self.targets]
        if self.local not in among:
            raise ValueError(f"{with_targets} local is {' or '.join(map(str, among))}, not {self.local}")
        if self.mark is not None and self.targets is not Targets.NOBODY:
            raise ValueError(f"{with_targets} nobody is marked pending: they are notified already")
        if self.targets.interrupts:
            if self.done is Done.SENT and self.local is Local.AFTER_ACKS:
                raise ValueError(f"{with_targets} and {self.done} no acks are read, so local is never {self.local}")
            return
        for word, default in (("done", Done.FLUSHED), ("run", Run.EACH), ("mutex", False)):
            if getattr(self, word) is not default:
                raise ValueError(f"{with_targets} there is no request, so {word}={getattr(self, word)} means nothing")

    def _check_checks(self) -> None:
        """ValueError where the checks do not fit the mark."""
        mark, checks = self.mark, self.checks
        if mark is None:
            if checks:
                raise ValueError(f"{next(iter(checks))} checks a mark, and nothing is marked: give a mark")
            return
        if not checks and not self.has_deadline:
            raise ValueError(f"CPUs are marked pending, and none checks: give {', '.join(PLACES[:-1])} or migration")
        for place, check in checks.items():
            if check.line is not mark.line:
                raise ValueError(f"{place} checks {check.line}, and the mark is on {mark.line}")
            if not check.clears and mark.write is not Write.ATOMIC:
                raise ValueError(f"{place} reads a generation, clears=False, which only {Write.ATOMIC} counts up")
            if mark.line is Line.TASK and place != "migration":
                raise ValueError(f"{place}: a task's own mark is checked where the task arrives: only by migration")
            if place == "kernel_entry" and mark.reads_line:
                raise ValueError(f"kernel_entry: no machine models checks there of a line written {mark.write}")
            if place == "kernel_entry" and self.has_deadline:
                raise ValueError(f"kernel_entry: no machine models checks there with deadline_ns={mark.deadline_ns:g}")
            if place == "kernel_entry" and mark.line is not Line.GLOBAL:
                raise ValueError(f"kernel_entry: no machine models checks of {mark.line} there, only of {Line.GLOBAL}")
        if len({check.clears for check in checks.values()}) > 1:
            raise ValueError(f"{' and '.join(checks)}: a mark is cleared by all checks, or read as a generation by all")
        if {"switch_to_user", "migration"} <= set(checks):
            raise ValueError("migration: a task that arrives is switched to, where switch_to_user checks already")

    @property
    def checks(self) -> dict[str, Check]:
        """The checks of the mark by place."""
        return {place: check for place in PLACES if (check := getattr(self, place)) is not None}

    @property
    def flushes_ranges(self) -> bool:
        """Whether CPUs flush by an instruction of their own, here or in a handler."""
        return self.local is not Local.NEVER or self.targets.interrupts

    @property
    def reads_line(self) -> bool:
        """Whether its mark is on a line of which CPUs share copies."""
        return self.mark is not None and self.mark.reads_line

    @property
    def has_deadline(self) -> bool:
        """Whether CPUs are interrupted whose mark is too old."""
        return self.mark is not None and self.mark.deadline_ns < inf

    @property
    def full_ns(self) -> str:
        """The cost of a full flush: of one address space where it has generations, else of everything."""
        return "flush_mm_ns" if self.run.catches_up else "flush_all_ns"

    def count(self, build: Build) -> Events:
        """The flush events of a build, as float64; ValueError or TypeError where `events` returns something else."""
        events, lanes = self.events(build), len(build.kunmap_events)
        if not isinstance(events, Events):
            raise TypeError(f"events() returns {type(events).__name__}: must be Events")
        pages = tuple(events.pages)
        if not pages or not all(isinstance(each, int) and (each >= 1 or each == ALL_PAGES) for each in pages):
            raise ValueError(f"events(): pages={pages}: must be whole numbers from 1, or ALL_PAGES, one at least")
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
LOCAL_FLUSHES = {  # when the CPU that makes the flush event can flush itself
    Targets.NOBODY: (Local.NEVER, Local.FIRST),
    Targets.HARDWARE: (Local.NEVER,),
    Targets.OTHER_ONLINE: tuple(Local),
    Targets.OTHER_BUSY: tuple(Local),
    Targets.OTHER_RUNNING: tuple(Local),
    Targets.OTHER_IN_KERNEL: tuple(Local),
    Targets.OTHER_HOUSEKEEPING: tuple(Local),
}


def _expect(words: object, **kinds: Any) -> None:
    """TypeError where a word is not of its kind."""
    for name, kind in kinds.items():
        value = getattr(words, name)
        if not isinstance(value, kind):
            said = str(getattr(kind, "__name__", kind)).replace("sim.policy.", "").replace(" | ", " or ")
            raise TypeError(f"{type(words).__name__}: {name}={value!r}: must be a {said}")
