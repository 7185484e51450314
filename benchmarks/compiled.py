"""The rule of `sim/machine/vectorized/broadcast.py` for policy `xpfo` as a compiled scalar loop, lane after lane and
target after target, numba in place of numpy. What the engine is measured against.

C:   kernel/smp.c  on_each_cpu(), smp_call_function_many(), flush_smp_call_function_queue()

Every sum is added up in the engine's order, so the numbers are the engine's to the last bits. Restricted to what xpfo
does: all other online CPUs are told, each request's range is flushed, own flush after the acks. Times are absolute and
in ns; state is [lane, cpu].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit

from sim.abi import Events
from sim.draws import COMPUTE, KIND, PAGES, Draws
from sim.events import local_ns
from sim.group import Shape

NEVER = -1e200
STARTS = 2  # loops that get their length in one step, in order of their begin
PRICES = (
    "enqueue_ns enqueue_busy_ns ipi_send_ns ipi_latency_ns ipi_latency_cross_ns irq_entry_ns handler_ns irq_exit_ns "
    "idle_exit_ns ack_ns ack_cross_ns mask_scan_ns refill_ns user_refill_ns think_ns"
).split()


class Size(NamedTuple):
    """What is the same for all lanes."""

    cpus: int
    sockets: int
    busy: int
    flushers: int
    reach: int


class Source(NamedTuple):
    """Flush events to draw; kinds are the page counts of an alloc in ascending order, then kunmap."""

    compute: np.ndarray  # [replica, cpu, draw] of unit mean
    which: np.ndarray  # [replica, cpu, draw] uniform
    pages: np.ndarray  # [replica, cpu, draw] uniform
    row: np.ndarray  # [lane] replica
    alloc_share: np.ndarray  # [lane]
    cumulative: np.ndarray  # [lane, pages of an alloc]
    bookkeeping: np.ndarray  # [lane, kind]
    local: np.ndarray  # [lane, kind]
    remote: np.ndarray  # [lane, kind] the same in a handler run
    full: np.ndarray  # [lane, kind]


class State(NamedTuple):
    """What a lane remembers from one flush event to the next: see `sim/machine/vectorized/state.py`."""

    taken: np.ndarray  # [lane, cpu] as all below
    run_end: np.ndarray
    full_taken: np.ndarray
    due: np.ndarray
    pending: np.ndarray
    begin: np.ndarray
    busy_targets: np.ndarray
    began: np.ndarray
    sent: np.ndarray
    last_done: np.ndarray
    own: np.ndarray
    free: np.ndarray
    kind: np.ndarray
    used: np.ndarray  # draws made
    refilled: np.ndarray
    refills_next: np.ndarray
    ended: np.ndarray  # [lane]
    turn: np.ndarray  # [lane]


class Counts(NamedTuple):
    """Sums over flush events, [lane]."""

    wait_ns: np.ndarray
    window_ns: np.ndarray
    interrupts: np.ndarray
    handler_ns: np.ndarray
    handler_compute_ns: np.ndarray
    refills: np.ndarray


class Machine:
    """All lanes, from time 0; `advance` serves flush events and returns their means."""

    def __init__(
        self, shape: Shape, cost: Mapping[str, np.ndarray], events: Events, replicas: np.ndarray, draws: int
    ) -> None:
        """`draws` flush events of each CPU are drawn ahead: what `advance` needs in all, and one more."""
        lanes, f = len(replicas), shape.flushers
        reach = min(shape.reach, 1 << (shape.cores - 1).bit_length())
        self.size = Size(shape.cores, shape.sockets, shape.busy, f, reach)
        slow = cost["smt_slowdown"] if shape.threads_per_core == 2 else np.ones(lanes)
        slowed = {name: cost[name] * slow for name in ("irq_entry_ns", "handler_ns", "irq_exit_ns")}
        self.prices = np.column_stack([(dict(cost) | slowed)[name] for name in PRICES])
        self.source = _source(shape, cost, events, replicas, draws, slow)

        def cpus(value: float, count: int = f, kind: type = float) -> np.ndarray:
            return np.full((lanes, count), value, dtype=kind)

        never, unknown = cpus(NEVER, shape.cores), cpus(np.nan, shape.cores)
        floats = [cpus(value) for value in (0.0, 0.0, 0.0, 0.0, 0.0, NEVER, NEVER, 0.0, 0.0)]
        flags = cpus(0, kind=np.int64), cpus(0, kind=np.int64), cpus(False, kind=bool), cpus(False, kind=bool)
        last = np.full(lanes, NEVER), np.zeros(lanes, dtype=np.int64)
        self.state = State(never, never.copy(), unknown, *floats, *flags, *last)
        _start(self.size, self.prices, self.source, self.state)

    def advance(self, flush_events: int) -> dict[str, np.ndarray]:
        """Means over the next `flush_events` of every lane, by metric name, [lane]."""
        lanes = len(self.prices)
        counts = Counts(*(np.zeros(lanes) for _ in Counts._fields))
        before = self.state.ended.copy()
        _advance(self.size, self.prices, self.source, self.state, counts, flush_events)
        out = {name: values / flush_events for name, values in counts._asdict().items()}
        return out | {"interval_ns": (self.state.ended - before) / flush_events}


def _source(
    shape: Shape,
    cost: Mapping[str, np.ndarray],
    events: Events,
    replicas: np.ndarray,
    draws: int,
    slow: np.ndarray,
) -> Source:
    unique, row = np.unique(replicas, return_inverse=True)
    tape = Draws(shape.seed, unique, shape.flushers, (COMPUTE, KIND, PAGES))
    tape.reserve(draws)
    tables = [table.reshape(len(unique), shape.flushers, -1) for table in tape.tables]
    alloc = np.where(events.alloc_total > 0, events.alloc_total, 1.0)
    cumulative = np.cumsum(events.alloc / alloc, axis=0)
    cumulative[-1] = 1.0  # what rounding leaves belongs to the longest range
    prices = [local_ns(cost, pages) for pages in (*events.pages, 1)]
    local = np.column_stack([price for price, _ in prices])
    bookkeeping = [cost["alloc_bookkeeping_ns"]] * len(events.pages) + [cost["kunmap_bookkeeping_ns"]]
    return Source(
        *tables,
        row=row,
        alloc_share=events.alloc_total / events.total,
        cumulative=np.ascontiguousarray(cumulative.T),
        bookkeeping=np.column_stack(bookkeeping),
        local=local,
        remote=local * slow[:, None],
        full=np.column_stack([full for _, full in prices]),
    )


@njit(inline="always")
def _draw(source: Source, state: State, lane: int, cpu: int, think_ns: float) -> tuple[float, int]:
    """Compute time and kind of the next flush event of a CPU."""
    row, at = source.row[lane], state.used[lane, cpu]
    state.used[lane, cpu] = at + 1
    share = source.pages[row, cpu, at] if source.which[row, cpu, at] < source.alloc_share[lane] else 2.0
    kind = 0
    for each in source.cumulative[lane]:
        kind += share >= each
    return source.compute[row, cpu, at] * think_ns, kind


@njit(inline="always")
def _begun(taken: float, t: float, after: float, busy_ns: float, empty_ns: float, found_empty_ns: float) -> bool:
    """Whether a run had taken its queue by the request that `after` others follow in a loop that ends at `t`."""
    dear, cheap = after * busy_ns - found_empty_ns, after * empty_ns
    queued = max(dear, cheap) if busy_ns >= empty_ns else min(dear, cheap)
    return t - (queued + taken) >= 0.0


@njit
def _start(size, prices, source, state):
    """The first flush event of every CPU."""
    for lane in range(len(prices)):
        price = prices[lane]
        for k in range(size.flushers):
            start, kind = _draw(source, state, lane, k, price[14])
            state.pending[lane, k] = start
            work = source.bookkeeping[lane, kind] + price[11]
            state.due[lane, k] = start + work + (size.cpus - 1.0) * price[0]
            state.kind[lane, k] = kind


@njit
def _advance(size, prices, source, state, counts, flush_events):
    for lane in range(len(prices)):
        _advance_lane(size, prices[lane], source, state, counts, flush_events, lane)


@njit
def _advance_lane(size, prices, source, state, counts, flush_events, lane):
    """Serve so many flush events in one lane."""
    (enqueue, enqueue_busy, send, latency, latency_cross, entry, handler, leave, idle_exit, ack, ack_cross, scan) = (
        prices[0], prices[1], prices[2], prices[3], prices[4], prices[5], prices[6], prices[7], prices[8], prices[9],
        prices[10], prices[11],
    )  # fmt: skip
    refill, user_refill, think = prices[12], prices[13], prices[14]
    cpus, sockets, busy, flushers, reach = size.cpus, size.sockets, size.busy, size.flushers, size.reach
    others = cpus - 1.0
    empties = send + latency + entry
    gains = max(enqueue_busy - send / reach, 1e-9)
    extra = enqueue_busy - enqueue
    cross = ack_cross if sockets > 1 else ack
    saving = cross - ack
    more = refill - user_refill
    shift = 0
    while 1 << shift < reach:
        shift += 1
    acks_from = np.empty(cpus)  # acks to read from each CPU on, less what those on the sender's socket save
    for k in range(cpus):
        acks_from[k] = (cpus - k) * cross + (k // sockets) * saving
    taken, run_end, full_taken = state.taken[lane], state.run_end[lane], state.full_taken[lane]
    due, pending, begin, began = state.due[lane], state.pending[lane], state.begin[lane], state.began[lane]
    sent, last_done, own, free = state.sent[lane], state.last_done[lane], state.own[lane], state.free[lane]
    busy_targets, kinds = state.busy_targets[lane], state.kind[lane]
    refilled, refills_next = state.refilled[lane], state.refills_next[lane]
    ended, turn = state.ended[lane], state.turn[lane]
    wait_sum = window_sum = interrupts = handler_sum = compute_sum = refills = 0.0

    for _ in range(flush_events):
        # Loops that have begun by the next loop's end get their length.
        horizon, in_progress, j = np.inf, 0.0, 0
        for k in range(flushers):
            horizon = min(horizon, due[k])
            in_progress = max(in_progress, due[k] if pending[k] == np.inf else 0.0)
            if pending[k] < pending[j]:
                j = k
        ahead = max(in_progress if in_progress > 0.0 else NEVER, ended)
        for start in range(STARTS):
            if start:
                j = 0
                for k in range(1, flushers):
                    if pending[k] < pending[j]:
                        j = k
            if pending[j] > horizon:
                break
            old = due[j]
            found = (ahead + empties - (old - others * enqueue)) / gains
            found = min(max(found, 0.0), others)
            later = old + found * extra
            run_begin = taken[j] - entry  # a run that the loop would have missed, was it shorter
            if old <= run_begin < later:
                later += run_end[j] - run_begin
            due[j] = later
            ahead = max(ahead, later)
            busy_targets[j] += found
            begin[j] = pending[j]
            pending[j] = np.inf

        # The CPU whose loop ends first; ties go to the lowest.
        i = 0
        for k in range(1, flushers):
            if due[k] < due[i]:
                i = k
        t, kind = due[i], kinds[i]
        ended = t
        wait_sum += free[i] - began[i]
        began[i] = begin[i] if pending[i] == np.inf else pending[i]
        full = source.full[lane, kind]
        remote = source.remote[lane, kind]
        join_work = handler + remote
        new_work = entry + handler + remote + leave
        new_length = (new_work - join_work) + join_work
        each = refill if full else user_refill
        found_empty = (others - busy_targets[i]) * extra
        near, socket = i % sockets, 0
        same = (cpus - 1 - near) // sockets + 1  # CPUs of the sender's socket, itself included
        arrive_near, arrive_cross = latency + t, latency_cross + t
        marked = marked_busy = new_computing = all_computing = 0
        last, acked = NEVER, NEVER
        after = others  # targets from this one on

        for k in range(flushers):
            on_socket = socket == near
            save = (same - (near < socket)) * saving
            socket = socket + 1 if socket + 1 < sockets else 0
            if k == i:
                continue
            after -= 1.0
            mark = _begun(taken[k], t, after, enqueue_busy, enqueue, found_empty)
            resume = run_end[k]
            if mark:
                marked += 1
                arrival = ((marked + reach - 1) >> shift) * send + (arrive_near if on_socket else arrive_cross)
                resume = max(arrival, resume)
            resume = max(resume, sent[k])
            left = free[k] - resume
            reading = own[k] < left
            if not reading:
                resume += max(left, 0.0)
            end = (new_length if mark else join_work) + resume
            if mark:
                taken[k] = resume + entry
            run_end[k] = end
            delay = max(end, last_done[k]) - max(resume, last_done[k])
            before_start = resume < pending[k]
            computing = not reading and before_start and pending[k] != np.inf
            all_computing += computing
            new_computing += mark and computing
            if reading:
                free[k] += delay
            if mark and computing:
                delay += each
            if full and (mark or full_taken[k] != taken[k]):
                full_taken[k] = taken[k]
                if computing:
                    refills += 1.0
                    if not mark:
                        delay += more
                elif left <= 0.0:
                    refills_next[k] = True
                elif not refilled[k]:  # the compute after is drawn already
                    refilled[k] = True
                    refills += 1.0
                    delay += more
            if before_start:
                pending[k] += delay
            if resume < due[k]:
                due[k] += delay
            done = end - leave
            last = max(last, done)
            done += acks_from[k]
            if k < i:
                done -= ack
            acked = max(acked, done - save)
        marked_flushers = marked
        for k in range(flushers, cpus):
            on_socket = socket == near
            save = (same - (near < socket)) * saving
            socket = socket + 1 if socket + 1 < sockets else 0
            after -= 1.0
            mark = _begun(taken[k], t, after, enqueue_busy, enqueue, found_empty)
            resume = run_end[k]
            if mark:
                marked += 1
                arrival = ((marked + reach - 1) >> shift) * send + (arrive_near if on_socket else arrive_cross)
                if k >= busy and run_end[k] <= arrival:
                    arrival += idle_exit
                resume = max(arrival, resume)
            end = (new_length if mark else join_work) + resume
            if mark:
                taken[k] = resume + entry
            run_end[k] = end
            if k < busy:
                marked_busy += mark
                if full and (mark or full_taken[k] != taken[k]):
                    full_taken[k] = taken[k]
                    refills += 1.0
            done = end - leave
            last = max(last, done)
            acked = max(acked, done + acks_from[k] - save)

        interrupts += marked
        new, joined = marked_flushers + marked_busy, busy - 1 - marked_flushers - marked_busy
        handler_sum += new * new_work + joined * join_work
        new, every = marked_busy + new_computing, busy - flushers + all_computing
        compute_sum += new * new_work + (every - new) * join_work

        # The sender: ICR writes, acks, a run of its own that waited, own flush, next flush event.
        sent_i = t + ((marked + reach - 1) >> shift) * send
        all_acks = others * cross - (same - 1) * saving
        acked = max(sent_i + all_acks, acked)
        if busy > 1:
            turn = turn + 1 if turn + 1 < busy - 1 else 0
            other = (i + 1 + turn) % busy
            window_sum += run_end[other] - leave - (began[i] + source.bookkeeping[lane, kind])
        run_begin = taken[i] - entry
        length = run_end[i] - run_begin
        waiting = run_begin >= t
        resume = max(run_begin, sent_i)
        reading = waiting and resume < acked
        if reading:
            acked += max(resume + length - max(resume, last), 0.0)
        own_flush = source.local[lane, kind]
        end = acked + own_flush
        afterwards = waiting and not reading
        if afterwards:
            resume = max(resume, end)
        if waiting:
            moved = resume - run_begin
            full_taken[i] = taken[i] + moved if full_taken[i] == taken[i] else np.nan
            taken[i] += moved
            run_end[i] += moved
        sent[i], last_done[i], free[i], own[i] = sent_i, last, end, own_flush
        compute, next_kind = _draw(source, state, lane, i, think)
        refills_now = refills_next[i] or full
        refills_next[i], refilled[i] = False, refills_now
        refills += refills_now
        start = end + compute + (refill if refills_now else user_refill)
        in_compute = afterwards and resume < start
        if in_compute:
            compute_sum += length
            start += length
        work = source.bookkeeping[lane, next_kind] + scan
        pending[i], busy_targets[i], kinds[i] = start, 0.0, next_kind
        due[i] = start + work + others * enqueue
        if afterwards and not in_compute and resume < due[i]:
            due[i] += length

    state.ended[lane], state.turn[lane] = ended, turn
    counts.wait_ns[lane], counts.window_ns[lane], counts.interrupts[lane] = wait_sum, window_sum, interrupts
    counts.handler_ns[lane], counts.handler_compute_ns[lane], counts.refills[lane] = handler_sum, compute_sum, refills
