"""The receivers of the coarse rule: what a flush event does to the CPUs that it interrupts, one after another.

C:   kernel/smp.c  flush_smp_call_function_queue(); arch/x86/mm/tlb.c  flush_tlb_func(), do_kernel_range_flush()
Ref: `sim/machine/vectorized/receivers.py` says the same of all CPUs and lanes at once.
"""

from __future__ import annotations

from math import nan

from sim.machine.compiled.broadcast_state import Event, State, Sums
from sim.machine.compiled.interrupts import FULL, NOTHING, RANGE, Cost, Words, held_since
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.state import NEVER, Source, hold


@compiled
def deliver(words: Words, cost: Cost, source: Source, cpus: State, lane: int, replica: int, event: Event) -> Sums:
    """Requests, interrupts and handler runs, target after target, and when the acks are read."""
    sender, now, sockets = event.sender, event.now, words.sockets
    near, saving = sender % sockets, cost.ack_cross - cost.ack
    on_socket = (words.reachable - 1 - near) // sockets + 1  # CPUs of the sender's socket, itself included
    interrupt_near, interrupt_cross = cost.ipi_latency + now, cost.ipi_latency_cross + now
    # A run that took its queue by these times had done so before the last request, if all requests from its own on find
    # empty queues, or queues in use.
    empty = now - cost.irq_entry
    in_use = empty + (words.reachable - 1 - cpus.busy_targets[lane, sender]) * (cost.enqueue_busy - cost.enqueue)
    ack_less, empty_below, in_use_below = cost.ack, empty + cost.enqueue, in_use + cost.enqueue_busy
    is_done = cost.irq_entry if words.run_begun else -cost.irq_exit
    marked = marked_senders = marked_others = writes = room = computing = disturbed = refills = range_misses = 0
    ranges = fulls = computing_ranges = computing_fulls = 0
    notes = notes_senders = notes_others = notes_computing = 0
    range_miss = not (event.runs_fully or words.nothing)
    last_done = acked = NEVER
    written = 0.0
    socket, saved = -1, 0.0  # the CPU's socket; acks saved in all turns round the sockets before
    left = words.reachable + 1.0  # CPUs from this one on
    for k in range(words.reachable):
        socket, left = socket + 1, left - 1.0
        if socket == sockets:
            socket, saved = 0, k // sockets * saving
        if k == sender:  # those above it have the sender itself among the CPUs from them on
            ack_less, empty_below, in_use_below = 0.0, empty, in_use
            continue
        # llist_add(): a request joins the run that is still to take the queue, or finds it empty and needs an interrupt
        begin, after = cpus.run_begin[lane, k], left - 1.0  # requests after it
        mark = begin + after * cost.enqueue <= empty_below
        dear = begin + after * cost.enqueue_busy <= in_use_below
        mark = mark & dear if cost.enqueue_busy >= cost.enqueue else mark | dear
        # kvm_flush_tlb_multi(): who is held is left a note; rule: that is known when the loop ends
        held, last_note = 0.0, words.notes and cpus.run_again[lane, k] == begin
        if last_note:
            mark = begin <= now  # it runs again, and took no queue
        if mark and words.holds:
            held = hold(source, replica, lane, k, held_since(words, cost, now - cpus.ran[lane, k]), cost.held)
            cpus.ran[lane, k] = now + held
        note = words.notes and (held > 0.0 or (last_note and not mark))
        resume = max(cpus.run_end[lane, k], now + held if note and mark else 0.0)
        # arch_send_call_function_ipi_mask(): ICR writes for the marked targets
        if mark and not note:
            if room == 0:
                writes, room = writes + 1, words.reach
                written = writes * cost.ipi_send
            marked, room = marked + 1, room - 1
            interrupt = written + marked * cost.deliver
            interrupt += interrupt_near if socket == near else interrupt_cross
            interrupt += held
            if k >= words.busy and cpus.run_end[lane, k] <= interrupt:
                interrupt += cost.idle_exit
            resume = max(interrupt, cpus.run_end[lane, k])
        # flush_smp_call_function_queue(): handler runs on the targets
        work, drops = event.joined, NOTHING
        if note:  # a run that flushes when the CPU runs again: once, however many notes
            work, drops = (cost.flush_again, FULL) if mark else (0.0, NOTHING)
        elif words.catch_up:
            drops = _missed(cpus, lane, event, k, mark)
            if drops != NOTHING:
                work = event.joined + (event.full_flush if drops == FULL else event.range_flush)
        if mark and not note:
            work = event.extra + work
        if k < words.flushers:
            delayed, filled, upgraded = _run_on_sender(
                words, cost, cpus, lane, event, k, mark, note, resume, work, drops
            )
            refills += filled
            range_misses -= upgraded
        else:
            delayed = k < words.busy
            _run(cpus, lane, k, mark, resume, work)
        if words.notes and mark:
            cpus.run_again[lane, k] = cpus.run_begin[lane, k] if note else nan
        if note:
            if mark:
                notes_computing += delayed
                refills += words.flushers <= k < words.busy
            notes += 1
            notes_senders += k < words.flushers
            notes_others += words.flushers <= k < words.busy
            continue
        if k < words.flushers:
            marked_senders += mark
            computing += delayed
            disturbed += delayed and mark
        elif delayed:
            marked_others += mark
            if words.catch_up:
                refills += drops == FULL
            elif event.runs_fully and _flushes_fully(words, cpus, lane, k, mark):
                refills += 1
                range_misses -= not mark
        if words.catch_up:
            if drops != NOTHING:
                cpus.full_run[lane, k] = cpus.run_begin[lane, k]
            if k < words.busy:
                ranges += drops == RANGE
                fulls += drops == FULL
                computing_ranges += delayed and drops == RANGE
                computing_fulls += delayed and drops == FULL
        # csd_lock_wait(): acks, later ones all read once this one is
        done = cpus.run_begin[lane, k] if words.run_begun else cpus.run_end[lane, k]
        last_done = max(last_done, done)
        read = done + (left * cost.ack_cross + saved) - ack_less
        acked = max(acked, read + is_done - (on_socket - (near < socket)) * saving)
    range_misses += computing_ranges if words.catch_up else (disturbed + marked_others) * range_miss
    return Sums(
        marked, marked_senders, marked_others, writes, computing, disturbed, refills, range_misses, ranges, fulls,
        computing_ranges, computing_fulls, notes, notes_senders, notes_others, notes_computing, last_done + is_done,
        acked,
    )  # fmt: skip


@compiled
def _missed(cpus: State, lane: int, event: Event, k: int, mark: bool) -> int:
    """flush_tlb_func(): what CPU k flushes for a request, by generation; what it drops then from its TLB.

    rule: a run flushes up to the newest generation of when its first request to find something missed is seen, and what
    joins it later only acknowledges.
    """
    caught_up = cpus.caught_up[lane, k]
    if caught_up >= event.generation:
        return NOTHING
    cpus.caught_up[lane, k] = event.newest
    if not mark and cpus.full_run[lane, k] == cpus.run_begin[lane, k]:
        return NOTHING
    only_this = caught_up + 1 == event.generation == event.newest
    return FULL if event.full or not only_this else RANGE


@compiled
def _run(cpus: State, lane: int, k: int, mark: bool, resume: float, work: float) -> None:
    """A run of its own, or one that it joins, ends later by what the request takes."""
    cpus.run_end[lane, k] = work + resume
    if mark:
        cpus.run_begin[lane, k] = resume


@compiled
def _run_on_sender(
    words: Words,
    cost: Cost,
    cpus: State,
    lane: int,
    event: Event,
    k: int,
    mark: bool,
    note: bool,
    resume: float,
    work: float,
    drops: int,
) -> tuple[bool, bool, bool]:
    """A run on a CPU that makes flush events delays compute, the sending loop, or the reading of acks.

    Whether it was computing, whether a compute refills after a full flush, and whether after a range's misses before.
    """
    reading = resume < cpus.acked[lane, k]
    free = cpus.acked[lane, k] + cpus.own[lane, k]
    if not reading:  # interrupts are off in its own flush
        resume = max(resume, free)
    _run(cpus, lane, k, mark, resume, work)
    delay = max(
        cpus.run_end[lane, k] - max(resume, cpus.last_done[lane, k]), 0.0
    )  # a reader blocked until then loses no more
    if reading:
        cpus.acked[lane, k] += delay
    computing = not reading and resume < cpus.start[lane, k]
    refills = upgraded = False
    if words.catch_up or note:
        fully = drops == FULL
        if computing:
            delay += cost.refill if fully else cost.user_refill if drops == RANGE else 0.0
    else:
        fully = event.runs_fully and _flushes_fully(words, cpus, lane, k, mark)
        if computing and mark:
            delay += event.miss
    if fully:
        if computing:
            refills = True
            upgraded = not (mark or words.catch_up)
        elif resume > free:
            cpus.refills_next[lane, k] = True
        elif not cpus.refilled[lane, k]:  # the compute after the event is drawn already, with the misses of a range
            cpus.refilled[lane, k] = refills = upgraded = True
        if upgraded:
            delay += cost.refill - cost.user_refill
    if resume < cpus.start[lane, k]:
        cpus.start[lane, k] += delay
    if resume < cpus.loop_end[lane, k]:  # rule: the begin of the event in this loop stays, even where the run is older
        cpus.loop_end[lane, k] += delay
    return computing, refills, upgraded


@compiled
def _flushes_fully(words: Words, cpus: State, lane: int, k: int, mark: bool) -> bool:
    """Whether a full request is the first of its run to flush fully."""
    if not mark and (words.first_fully or cpus.full_run[lane, k] == cpus.run_begin[lane, k]):
        return False
    cpus.full_run[lane, k] = cpus.run_begin[lane, k]
    return True
