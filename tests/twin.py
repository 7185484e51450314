"""The rule of the engine once more, one CPU at a time: plain Python that gives the same numbers from the same draws.

C:   kernel/smp.c  on_each_cpu(), smp_call_function_many(), flush_smp_call_function_queue(); arch/x86/mm/tlb.c
Ref: docs/model.md; `broadcast.py` and `server.py` in `sim/machine/vectorized/` say the same for all lanes at once, with
     the same comments at the six places of a flush event.

What the rule leaves out of the kernel's truth (`tests/fine.py`) it leaves out here too; a comment says "rule:" there.
Times are absolute and in ns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, nan

import numpy as np

from sim.abi import ALL_PAGES, Done, Flush, Line, Own, Run, Targets
from sim.draws import COMPUTE, ENTRY, KIND, PAGES, stream

NEVER = -inf
BATCHES = 32
STARTS = 2  # rule: no more loops than this get their length in one step
BLOCK = 256  # draws made at once
COUNTERS = (
    "interrupts", "handler_ns", "handler_compute_ns", "refills", "queue_ns", "entries", "entry_ns", "entry_flushes",
)  # fmt: skip
REACH = {"flat": 4096, "cluster": 16, "physical": 1}  # marked targets that one ICR write reaches


@dataclass(frozen=True)
class Kind:
    """One kind of flush event: an alloc of so many pages, or a kunmap."""

    pages: int
    bookkeeping: float
    local: float  # do_kernel_range_flush() on one CPU
    full: bool


@dataclass
class Cpu:
    """A busy or idle CPU: its last handler run, and if it makes flush events the last one and the next one."""

    number: int
    # the last handler run
    taken: float = NEVER  # takes the call_single_queue
    run_end: float = NEVER
    run_full: bool = False  # it flushes fully
    # the flush event to come, or whose sending loop is in progress
    kind: Kind | None = None
    start: float = inf  # of the event to come; inf once its loop is in progress
    loop_begin: float = inf  # begin of the event whose loop is in progress
    loop_end: float = inf
    in_loop: bool = False
    busy_targets: float = 0.0  # requests of this loop that find a non-empty queue
    # the flush event whose loop ended last
    began: float = 0.0
    sent: float = NEVER  # last ICR write done and interrupts on
    last_done: float = NEVER  # last request done
    own: float = 0.0  # length of the own flush that ends it
    free: float = 0.0  # end
    # misses
    refilled: bool = False  # the compute after that event refills already
    refills_next: bool = False  # flushed fully while sending: the compute after that refills


class Source:
    """Compute times and kinds of the flush events of every CPU."""

    def __init__(self, kinds: Sequence[Kind], events: Sequence[float], think_ns: float, *key: int) -> None:
        self.kinds, self.think_ns, self.key = kinds, think_ns, key  # the last kind is kunmap; key: seed, replica
        alloc = sum(events[:-1])
        self.alloc_share = alloc / (events[-1] + alloc)
        self.shares = [each / alloc if alloc else 0.0 for each in events[:-1]]
        self.tapes: dict[int, list] = {}

    def draw(self, cpu: int) -> tuple[float, Kind]:
        if cpu not in self.tapes:
            self.tapes[cpu] = [[stream(*self.key, cpu, p) for p in (COMPUTE, KIND, PAGES)], []]
        (compute, which, pages), ready = self.tapes[cpu]
        if not ready:
            columns = compute.standard_exponential(BLOCK), which.random(BLOCK), pages.random(BLOCK)
            ready.extend(reversed(list(zip(*(column.tolist() for column in columns), strict=True))))
        unit, which_u, pages_u = ready.pop()
        return unit * self.think_ns, self._alloc(pages_u) if which_u < self.alloc_share else self.kinds[-1]

    def _alloc(self, u: float) -> Kind:
        running = 0.0
        for kind, share in zip(self.kinds[:-2], self.shares[:-1], strict=True):
            running += share
            if u < running:
                return kind
        return self.kinds[-2]  # the longest range


class Broadcast:
    """CPUs that flush each other by interrupt; `serve` takes the one whose sending loop ends next."""

    def __init__(self, flush, cost, source, cores, sockets, threads_per_core, busy, flushers, reach) -> None:
        self.flush, self.cost, self.source = flush, cost, source
        self.sockets, self.busy, self.reach = sockets, busy, reach
        self.cpus = [Cpu(k) for k in range(busy if flush.tell is Targets.OTHER_BUSY else cores)]
        self.flushers, self.others = self.cpus[:flushers], len(self.cpus) - 1
        self.slow = cost["smt_slowdown"] if threads_per_core == 2 else 1.0
        self.entry, self.each, self.exit = (cost[c] * self.slow for c in ("irq_entry_ns", "handler_ns", "irq_exit_ns"))
        self.ended = NEVER  # end of the last loop
        self.turn = 0  # which of the other busy CPUs is watched
        self.reset()
        for cpu in self.flushers:
            compute, kind = source.draw(cpu.number)
            self.compute(cpu, compute, kind)

    def reset(self) -> None:
        for name in COUNTERS:
            setattr(self, name, 0.0)

    def compute(self, cpu: Cpu, until: float, kind: Kind) -> None:
        """`cpu` runs user code until its next flush event."""
        cpu.start, cpu.kind, cpu.in_loop, cpu.busy_targets = until, kind, False, 0.0
        # As if all queues will be empty; begin_loops() knows better.
        cpu.loop_end = until + kind.bookkeeping + self.cost["mask_scan_ns"] + self.others * self.cost["enqueue_ns"]
        if self.flush.own is Own.BEFORE:  # own flush; rule: interrupts are on in it
            cpu.loop_end += kind.local

    def begin_loops(self) -> None:
        """Flush events that start before the next loop ends learn how many of their requests find a queue in use.

        The first request does until the loop ahead has ended and its interrupts were taken; then the interrupts run
        ahead of the loop, one ICR write per `reach` targets against one `enqueue_busy_ns` a target.
        """
        cost = self.cost
        horizon = min(cpu.loop_end for cpu in self.flushers)  # rule: not moved by the loops that begin here
        ahead = max([self.ended, *(cpu.loop_end for cpu in self.flushers if cpu.in_loop)])
        empties = cost["ipi_send_ns"] + cost["ipi_latency_ns"] + self.entry
        gains = max(cost["enqueue_busy_ns"] - cost["ipi_send_ns"] / self.reach, 1e-9)
        for _ in range(STARTS):
            cpu = min(self.flushers, key=lambda cpu: cpu.start)
            if cpu.start > horizon:
                return
            first_request = cpu.loop_end - self.others * cost["enqueue_ns"]
            cpu.busy_targets = min(max((ahead + empties - first_request) / gains, 0.0), self.others)
            shorter, run_begin = cpu.loop_end, cpu.taken - self.entry
            cpu.loop_end += cpu.busy_targets * (cost["enqueue_busy_ns"] - cost["enqueue_ns"])
            if shorter <= run_begin < cpu.loop_end:  # a run that would have begun after the shorter loop
                cpu.loop_end += cpu.run_end - run_begin
            cpu.loop_begin, cpu.start, cpu.in_loop = cpu.start, inf, True
            ahead = max(ahead, cpu.loop_end)

    def serve(self) -> tuple[float, float, float]:
        """One flush event: requests, interrupts, runs, acks.

        Returns its loop's end, the sender's last wait, and for how long a busy CPU could use the old mapping.
        """
        cost = self.cost
        # smp_call_function_many(): whose loop over its targets ends next
        if self.flush.mutex:  # who asks first; nobody else is in its loop then
            sender = min(self.flushers, key=lambda cpu: cpu.start)
        else:
            self.begin_loops()
            sender = min(self.flushers, key=lambda cpu: cpu.loop_end)  # ties go to the lowest CPU
        now, kind, wait = sender.loop_end, sender.kind, sender.free - sender.began
        self.ended = now
        sender.began = sender.loop_begin if sender.in_loop else sender.start
        marked, acks = 0, []
        for target in self.cpus:
            if target is sender:
                continue
            left = self.others - 1 - len(acks)  # requests after this one, and those of them that find a queue in use
            left_busy = max(sender.busy_targets - (len(acks) + 1), 0.0)
            queued = now - left * cost["enqueue_ns"] - left_busy * (cost["enqueue_busy_ns"] - cost["enqueue_ns"])
            near = target.number % self.sockets == sender.number % self.sockets
            interrupt = None
            # llist_add(): a request joins the run that is still to take the queue, or finds it empty and needs an
            # interrupt
            if target.taken <= queued:
                # arch_send_call_function_ipi_mask(): ICR writes for the marked targets
                marked += 1
                write = now + ceil(marked / self.reach) * cost["ipi_send_ns"]
                interrupt = write + cost["ipi_latency_ns" if near else "ipi_latency_cross_ns"]
            # flush_smp_call_function_queue(): handler runs on the targets
            done = self.run(target, kind, interrupt)
            acks.append((done, cost["ack_ns" if near else "ack_cross_ns"]))
        self.interrupts += marked
        sender.sent = now + ceil(marked / self.reach) * cost["ipi_send_ns"]
        if self.flush.own is Own.AFTER_SENDS:  # own flush
            sender.sent += kind.local
        # csd_lock_wait(): acks
        acked = sender.sent
        for done, ack in acks:
            acked = max(acked, done) + ack
        sender.last_done = max((done for done, _ in acks), default=NEVER)
        window = self.watch_window(sender, kind) if self.busy > 1 else nan
        # own flush, and the compute after it
        self.finish(sender, now, acked)
        if self.flush.mutex:  # handed over
            for cpu in self.flushers:
                locked = max(sender.free, cpu.run_end)
                cpu.loop_end = max(cpu.loop_end, locked + cost["mask_scan_ns"] + self.others * cost["enqueue_ns"])
        return now, wait, window

    def watch_window(self, sender: Cpu, kind: Kind) -> float:
        """How long one of the other busy CPUs, each in its turn, could use the old mapping."""
        self.turn = (self.turn + 1) % (self.busy - 1)
        watched = self.cpus[(sender.number + 1 + self.turn) % self.busy]
        flushed = watched.run_end - self.exit
        if self.flush.run is Run.FIRST_FULLY:
            flushed = watched.taken + self.each + self.cost["flush_all_ns"] * self.slow
        return flushed - (sender.began + kind.bookkeeping)

    def run(self, target: Cpu, kind: Kind, interrupt: float | None) -> float:
        """A request in a handler run: a new one once `interrupt` is there, else the last one. Returns its end."""
        new = interrupt is not None
        first_fully = self.flush.run is Run.FIRST_FULLY
        flush = (self.cost["flush_all_ns"] if first_fully else kind.local) * self.slow
        if self.flush.run is Run.NOTHING:
            flush = 0.0
        if new:
            if target.number >= self.busy and target.run_end <= interrupt:
                interrupt += self.cost["idle_exit_ns"]
            begin, work = max(interrupt, target.run_end), self.entry + self.each + flush + self.exit
        else:
            begin, work = target.run_end, self.each + (0.0 if first_fully else flush)
        makes_events = target.number < len(self.flushers)
        reading = in_event = False
        if makes_events:
            begin = max(begin, target.sent)
            left = target.free - begin  # of the flush event that the run finds
            in_event, reading = left > 0.0, left > target.own
            if in_event and not reading:  # interrupts are off in the own flush
                begin = target.free
        end = begin + work
        if new:
            target.taken = begin + self.entry
        target.run_end = end
        computing = not makes_events or (not reading and not target.in_loop and begin < target.start)
        if target.number < self.busy:
            self.handler_ns += work
            self.handler_compute_ns += work if computing else 0.0
            misses = self.misses(target, new, kind.full or first_fully, computing, in_event)
        if makes_events:  # what is delayed; a reader blocked on its last request loses nothing until that is done
            delay = max(end, target.last_done) - max(begin, target.last_done)
            if reading:
                target.free += delay
            if begin < target.loop_end:  # rule: the begin of the event in this loop stays, even where the run is older
                target.loop_end += delay + misses
            if begin < target.start:
                target.start += delay + misses
        return target.taken if self.flush.done is Done.RUN_BEGUN else end - self.exit

    def misses(self, cpu: Cpu, new: bool, full: bool, computing: bool, in_event: bool) -> float:
        """What a request flushed in a run adds to compute: to the present one, or to the one after a flush event."""
        if self.flush.run is Run.NOTHING:
            return 0.0
        first_full = full and (new or (not cpu.run_full and self.flush.run is Run.EACH))
        cpu.run_full = full or (cpu.run_full and not new)
        range_ns = self.cost["user_refill_ns"]
        if not first_full:
            return range_ns if new and computing else 0.0
        if computing:
            self.refills += 1
            return self.cost["refill_ns"] - (0.0 if new else range_ns)
        if not in_event:
            cpu.refills_next = True
        elif not cpu.refilled:  # the compute after the event is drawn already, with the misses of a range
            cpu.refilled = True
            self.refills += 1
            return self.cost["refill_ns"] - range_ns
        return 0.0

    def finish(self, sender: Cpu, now: float, acked: float) -> None:
        """The end of a flush event: a run of the sender's own that waited for it, its own flush, its next compute."""
        begin, length = sender.taken - self.entry, sender.run_end - (sender.taken - self.entry)
        waiting = begin >= now
        run_begin = max(begin, sender.sent)
        reading = waiting and run_begin < acked
        if reading:
            acked += max(run_begin + length - max(run_begin, sender.last_done), 0.0)
        sender.own = sender.kind.local if self.flush.own is Own.AFTER_ACKS else 0.0
        sender.free = acked + sender.own
        afterwards = waiting and not reading
        if afterwards:
            run_begin = max(run_begin, sender.free)
        if waiting:  # rule: who reads acks of this run already knows nothing of the shift
            sender.taken, sender.run_end = run_begin + self.entry, run_begin + length

        compute, kind = self.source.draw(sender.number)
        flushed = self.flush.own is not Own.NEVER
        sender.refilled, sender.refills_next = sender.refills_next or (sender.kind.full and flushed), False
        self.refills += sender.refilled
        range_ns = self.cost["user_refill_ns"] if flushed else 0.0
        start = sender.free + compute + (self.cost["refill_ns"] if sender.refilled else range_ns)
        if afterwards and run_begin < start:
            self.handler_compute_ns += length
            start += length
            afterwards = False
        self.compute(sender, start, kind)
        if afterwards and run_begin < sender.loop_end:
            sender.loop_end += length


class Server:
    """CPUs that queue for one server: the line of a mask, or a broadcast fabric; `serve` takes the next to arrive."""

    def __init__(self, flush, cost, source, cores, sockets, busy, flushers, entries) -> None:
        self.flush, self.cost, self.source = flush, cost, source
        self.cores, self.sockets, self.busy = cores, sockets, busy
        self.fabric = flush.tell is Targets.HARDWARE
        self.one_at_a_time = self.fabric or (flush.post is not None and flush.post.line is Line.GLOBAL)
        self.cpus = [Cpu(k) for k in range(busy)]
        self.flushers = self.cpus[:flushers]
        self.owner, self.free = self.cpus[0], 0.0
        self.reset()
        for cpu in self.flushers:
            cpu.start, cpu.kind = source.draw(cpu.number)
        self.entry = [inf] * busy  # next kernel entry
        self.looked = [NEVER] * busy  # last look at the note
        self.posted: dict[int, float] = {}  # last post of each CPU
        self.gaps = [stream(*source.key, k, ENTRY) for k in range(busy)] if entries else []
        for k in range(len(self.gaps)):
            self.next_entry(k, 0.0)

    reset = Broadcast.reset

    def next_entry(self, k: int, after: float) -> None:
        self.entry[k] = after + self.gaps[k].standard_exponential() * (1e9 / self.cost["kernel_entries_per_s"])

    def arrival(self, cpu: Cpu) -> float:
        own = cpu.kind.local if self.flush.own is Own.BEFORE else 0.0  # own flush
        return cpu.start + cpu.kind.bookkeeping + own + cpu.own

    def visit(self, cpu: Cpu, kind: Kind | None) -> float:
        """How long the server is `cpu`'s."""
        cost = self.cost
        if self.fabric:
            whole = cost["broadcast_all_ns"]
            return whole if kind.full else cost["broadcast_ns"] + kind.pages * cost["broadcast_page_ns"]
        if self.flush.post is not None and self.flush.post.line is Line.PER_CPU:  # reads every other CPU's flag
            others = (k for k in range(self.cores) if k != cpu.number)
            return sum(
                cost["ack_ns" if k % self.sockets == cpu.number % self.sockets else "ack_cross_ns"] for k in others
            )
        if not self.one_at_a_time:
            return 0.0
        near = cpu.number % self.sockets == self.owner.number % self.sockets
        return cost["mask_line_ns" if near else "mask_line_cross_ns"]

    def enter(self, cpu: Cpu) -> None:
        """A kernel entry looks at the note, and flushes fully if another CPU posted since the last look."""
        k, entered = cpu.number, self.entry[cpu.number]
        end = max(entered, self.free) + self.visit(cpu, None)
        found = any(at > self.looked[k] for poster, at in self.posted.items() if poster != k)
        self.looked[k], self.free, self.owner = end, end, cpu
        length = end - entered + (self.cost["flush_all_ns"] if found else 0.0)
        self.entries += 1
        self.entry_ns += length
        self.entry_flushes += found
        self.refills += found
        if k < len(self.flushers):
            delay = length + (self.cost["refill_ns"] if found else 0.0)
            if cpu.start > entered:
                cpu.start += delay
            else:
                cpu.own += delay  # between the begin of the flush event and the line
        self.next_entry(k, entered + length)

    def serve(self) -> tuple[float, float, float]:
        """One flush event, and the kernel entries before it. Returns its arrival, its length and the window."""
        while self.gaps:
            cpu = min(self.cpus, key=lambda cpu: self.entry[cpu.number])
            if self.entry[cpu.number] >= min(self.arrival(each) for each in self.flushers):
                break
            self.enter(cpu)
        sender = min(self.flushers, key=self.arrival)  # ties go to the lowest CPU
        arrival, kind, began = self.arrival(sender), sender.kind, sender.start
        # cpumask_or(), or the fabric: one CPU at a time
        grant = max(arrival, self.free) if self.one_at_a_time else arrival
        end = grant + self.visit(sender, kind)
        self.free, self.owner = end, sender
        self.queue_ns += grant - arrival
        self.posted[sender.number], sender.own = end, 0.0
        self.entry[sender.number] = max(self.entry[sender.number], end)
        if self.fabric and kind.full:  # every busy CPU lost its TLB
            self.refills += self.busy - len(self.flushers)
            for cpu in self.flushers:
                if cpu.start > end:
                    self.refills += 1
                    cpu.start += self.cost["refill_ns"]
                elif cpu is not sender:
                    cpu.refills_next = True
        compute, sender.kind = self.source.draw(sender.number)
        sender.start = end + compute
        if self.fabric or self.flush.own is not Own.NEVER:
            if kind.full or sender.refills_next:
                self.refills += 1
                sender.start += self.cost["refill_ns"]
            elif not self.fabric:
                sender.start += self.cost["user_refill_ns"]
            sender.refills_next = False
        return arrival, end - began, end - began - kind.bookkeeping if self.fabric else nan


def quantile(ascending: Sequence[float], share: float) -> float:
    at = share * (len(ascending) - 1)
    low, high = ascending[int(at)], ascending[ceil(at)]
    return low + (at - int(at)) * (high - low)


def lane(
    policy_flush: Flush,
    *,
    cost: Mapping[str, float],
    cores: int,
    sockets: int,
    threads_per_core: int,
    busy: int,
    flushers: int,
    apic: str,
    think_ns: float,
    kunmap_events: float,
    alloc: Sequence[tuple[int, float]],
    seed: int,
    replica: int,
    warmup: int,
    window: int,
    entries: bool = False,
) -> dict[str, float]:
    """Means per flush event of one lane over `window` events after `warmup`; `alloc` is (pages, events), ascending."""
    kinds = []
    for pages, name in [*((pages, "alloc_bookkeeping_ns") for pages, _ in alloc), (1, "kunmap_bookkeeping_ns")]:
        full = pages == ALL_PAGES or pages > cost["ceiling"]
        local = cost["flush_all_ns"] if full else cost["flush_fixed_ns"] + pages * cost["invlpg_ns"]
        kinds.append(Kind(pages, cost[name], local, full))
    source = Source(kinds, [*(events for _, events in alloc), kunmap_events], think_ns, seed, replica)
    reach = REACH["flat" if cores <= 8 else "cluster"] if apic == "auto" else REACH[apic]
    if policy_flush.tell in (Targets.OTHER_ONLINE, Targets.OTHER_BUSY):
        machine = Broadcast(policy_flush, cost, source, cores, sockets, threads_per_core, busy, flushers, reach)
    else:
        machine = Server(policy_flush, cost, source, cores, sockets, busy, flushers, entries)
    now = 0.0
    for _ in range(warmup):
        now, *_ = machine.serve()
    machine.reset()
    begin, samples = now, []
    for _ in range(BATCHES * max(1, window // BATCHES)):
        now, *lengths = machine.serve()
        samples.append(lengths)
    events = len(samples)
    out = {name: getattr(machine, name) / events for name in COUNTERS} | {"interval_ns": (now - begin) / events}
    for name, values in zip(("wait", "window"), zip(*samples, strict=True), strict=True):
        ascending = np.sort(values).tolist()
        out |= {f"{name}_ns": sum(values) / events, f"{name}_p50_ns": quantile(ascending, 0.5)}
        out[f"{name}_p99_ns"] = quantile(ascending, 0.99)
    return out
