"""What a policy sees and what it can answer.

The policy decides, the machine does: a policy says how many flush events a build makes, whom to tell, when to flush
here, when a request counts as done, where to leave a note and where notes are looked at. It never queues, prices or
draws.

A policy is one module with these functions and no other public ones; only `flush` is required. What helps them begins
with an underscore.

    flush() -> Flush             one flush event
    events(build) -> Events      the flush events of a whole build (default: every kunmap, every alloc)
    switch_to_user() -> Look     looked at where switch_mm_irqs_off() switches to a user task
    tick() -> Look               ... at the periodic tick
    kernel_entry() -> Look       ... on every entry to the kernel
    migration() -> Look          ... where a task is switched in on a CPU it has not run on since

and, if its flush events are system calls and not those of a build under XPFO, the constant

    BUILD = False
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np

ALL_PAGES = -1  # TLB_FLUSH_ALL: a full flush whatever the ceiling
PLACES = ("switch_to_user", "tick", "kernel_entry", "migration")  # where notes are looked at
FUNCTIONS = ("flush", "events", *PLACES)  # of a policy


class Targets(Enum):
    """Whom a flush event tells, and waits for."""

    NOBODY = "nobody"
    OTHER_ONLINE = "other online CPUs"  # cpu_online_mask without this CPU
    OTHER_BUSY = "other busy CPUs"  # idle CPUs are left out
    # A CPU that its host does not run now, `held_share` of them, is left a note, and flushes fully when it runs again.
    OTHER_RUNNING = "other running CPUs"
    HARDWARE = "hardware broadcast"  # one fabric, first come first served

    @property
    def interrupts(self) -> bool:
        """Whether CPUs are told by interrupt."""
        return self in (Targets.OTHER_ONLINE, Targets.OTHER_BUSY, Targets.OTHER_RUNNING)


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
    # Nobody waits. The request's own memory is free again when its run has done it: csd_lock() of the next one waits.
    SENT = "it was sent"


class Run(Enum):
    """What a handler run flushes."""

    EACH = "each request's range"
    FIRST_FULLY = "everything at the first request, nothing more at the others"
    NOTHING = "nothing: the request itself is all, as a memory barrier is"
    CATCH_UP = "what its CPU has missed of one address space, by generation; nothing where it has missed nothing"


class Line(Enum):
    """The cache line that holds a note."""

    GLOBAL = "one line for all CPUs"
    TASK = "the current task's own line"
    PER_CPU = "one line per CPU"
    NODE = "one line per socket"


class How(Enum):
    """How a note is written."""

    PLAIN = "plain read-modify-write"
    ATOMIC = "atomic"
    TEST_FIRST = "read, written only if something that it sets is clear"  # atomically: no post is lost


@dataclass(frozen=True)
class Post:
    """A note left for the other CPUs: on which line, and how it is written."""

    line: Line
    how: How

    def __post_init__(self) -> None:
        _expect("Post", self, line=Line, how=How)
        if self.how not in POSTS[self.line]:
            ways = " or ".join(f"How.{how.name}" for how in POSTS[self.line])
            raise ValueError(f"{self.line} is written {ways}: no machine models {self.how}")

    @property
    def reads_line(self) -> bool:
        """Whether CPUs read a line that holds notes of several CPUs, so that copies of it are shared."""
        return self.how is How.TEST_FIRST and self.line in (Line.GLOBAL, Line.NODE)


POSTS = {  # the ways to write each line that a machine models
    Line.GLOBAL: (How.PLAIN, How.ATOMIC, How.TEST_FIRST),
    Line.TASK: (How.PLAIN,),  # only its own task writes it
    Line.PER_CPU: (How.TEST_FIRST,),
    Line.NODE: (How.TEST_FIRST,),
}


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
        _expect("Flush", self, own=Own, tell=Targets, done=Done, run=Run, post=(Post, type(None)), mutex=bool)
        told = f"no machine does this flush event: with {self.tell}"
        owns = OWN_FLUSHES[self.tell]
        if self.own not in owns:
            raise ValueError(f"{told} the own flush is {' or '.join(str(own) for own in owns)}, not {self.own}")
        if self.post is not None and self.tell is not Targets.NOBODY:
            raise ValueError(f"{told} no note is left for the others: they are told already")
        if self.tell.interrupts:
            if self.done is Done.SENT and self.own is Own.AFTER_ACKS:
                raise ValueError(f"{told} and {self.done} no acks are read, so no own flush is {self.own}")
            return
        for word, default in (("done", Done.FLUSHED), ("run", Run.EACH), ("mutex", False)):
            if getattr(self, word) is not default:
                raise ValueError(f"{told} there is no request, so {word}={getattr(self, word)} means nothing")

    @property
    def flushes_ranges(self) -> bool:
        """Whether CPUs flush by an instruction of their own, here or in a handler."""
        return self.own is not Own.NEVER or self.tell.interrupts

    @property
    def reads_line(self) -> bool:
        """Whether its note is on a line of which CPUs share copies."""
        return self.post is not None and self.post.reads_line

    @property
    def full_ns(self) -> str:
        """The cost of a full flush: of one address space where it has generations, else of everything."""
        return "flush_mm_ns" if self.run is Run.CATCH_UP else "flush_all_ns"


OWN_FLUSHES = {  # when the CPU that makes the flush event can flush itself
    Targets.NOBODY: (Own.NEVER, Own.BEFORE),
    Targets.HARDWARE: (Own.NEVER,),
    Targets.OTHER_ONLINE: tuple(Own),
    Targets.OTHER_BUSY: tuple(Own),
    Targets.OTHER_RUNNING: tuple(Own),
}


@dataclass(frozen=True)
class Look:
    """A look at the note left on `line`: a full flush where it is set; cleared, or remembered, by the looker."""

    line: Line
    clears: bool = True  # False: a generation is read, nothing is written

    def __post_init__(self) -> None:
        _expect("Look", self, line=Line, clears=bool)
        if not self.clears and self.line is not Line.GLOBAL:
            raise ValueError(f"a generation stands on {Line.GLOBAL}: no machine models clears=False on {self.line}")


def _expect(what: str, words: object, **types: type | tuple[type, ...]) -> None:
    """TypeError where a word is not of its kind."""
    for name, kind in types.items():
        value = getattr(words, name)
        if not isinstance(value, kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            among = " or ".join("None" if each is type(None) else each.__name__ for each in kinds)
            raise TypeError(f"{what}: {name}={value!r}: must be a {among}")


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


def check_policy(policy: ModuleType) -> None:
    """ValueError or TypeError, in a sentence, where a policy says what no machine models."""
    for name, value in vars(policy).items():
        own = callable(value) and getattr(value, "__module__", None) == policy.__name__
        if own and not isinstance(value, type) and not name.startswith("_"):
            _check_name(name)
    if not hasattr(policy, "flush"):
        raise ValueError("the policy has no flush(), which says what one flush event is")
    if not isinstance(getattr(policy, "BUILD", True), bool):
        raise TypeError(f"BUILD={policy.BUILD!r}: must be True or False")
    flush = _answer(policy, "flush", Flush)
    looks = {place: _answer(policy, place, Look) for place in PLACES if hasattr(policy, place)}
    if flush.post is None and looks:
        raise ValueError(f"{next(iter(looks))}() looks at a note, and flush() leaves none: give it a post")
    if flush.post is not None:
        _check_looks(flush.post, looks)


def _check_name(name: str) -> None:
    """ValueError where a public function of a policy is none that a machine calls."""
    if name in FUNCTIONS:
        return
    close = difflib.get_close_matches(name.lower(), FUNCTIONS, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}()?" if close else f"there are {', '.join(FUNCTIONS)}."
    raise ValueError(f"{name}() is no function of a policy; {hint} What only helps has a name that begins with _")


def _answer(policy: ModuleType, function: str, kind: type) -> Any:
    """What a function of the policy answers; TypeError where that is of another kind."""
    asked = getattr(policy, function)
    if not callable(asked):
        raise TypeError(f"{function}={asked!r}: must be a function that returns a {kind.__name__}")
    answer = asked()
    if not isinstance(answer, kind):
        raise TypeError(f"{function}() returns {answer!r}: must be a {kind.__name__}")
    return answer


def _check_looks(post: Post, looks: Mapping[str, Look]) -> None:
    """ValueError where the looks of a policy do not fit its note."""
    if not looks:
        raise ValueError(f"flush() leaves a note, and nobody looks at it: write {', '.join(PLACES[:-1])} or migration")
    for place, look in looks.items():
        if look.line is not post.line:
            raise ValueError(f"{place}() looks at {look.line}, and flush() posts on {post.line}")
        if not look.clears and post.how is not How.ATOMIC:
            raise ValueError(f"{place}() reads a generation, clears=False, which only {How.ATOMIC} counts up")
        if post.line is Line.TASK and place != "migration":
            raise ValueError(f"{place}(): a task's own note is looked at where the task arrives: only by migration()")
        if place == "kernel_entry" and post.reads_line:
            raise ValueError(f"kernel_entry(): no machine models looks there at a line written {post.how}")
        if place == "kernel_entry" and post.line is not Line.GLOBAL:
            raise ValueError(f"kernel_entry(): no machine models looks at {post.line} there, only at {Line.GLOBAL}")
    if len({look.clears for look in looks.values()}) > 1:
        raise ValueError(f"{' and '.join(looks)}: a note is cleared by all looks, or read as a generation by all")
    if {"switch_to_user", "migration"} <= set(looks):
        raise ValueError("migration(): a task that arrives is switched to, where switch_to_user() looks already")


def check_events(events: Events, lanes: int) -> Events:
    """The flush events that a policy counts, as float64; ValueError or TypeError where they are none."""
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
            raise ValueError(f"events(): {name} holds numbers below 0 or none at all")
        counts[name] = count.astype(np.float64)
    return Events(counts["kunmap"], pages, counts["alloc"])
