"""Reference simulation of an IPI broadcast, one event per queued request, as `model.md` tells it.

The sender follows `on_each_cpu` and `smp_call_function_many`: `llist_add` on each target's call_single_queue,
`arch_send_call_function_ipi_mask`, `csd_lock_wait` target by target, own `do_kernel_range_flush` or
`do_flush_tlb_all`. The receiver follows `generic_smp_call_function_single_interrupt`: `llist_del_all`, then
request after request. Written from the model, not from the C.

Nothing here becomes due earlier than once said: a handler run, a refill or interrupts being off only delay.
So a CPU has at most one work event, and one that comes up before its CPU's `work_end_ns` is put back; no
event is ever cancelled.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import accumulate
from math import inf

import numpy as np

# Phases of a CPU. RETURN: the flush is over, the next compute has not begun; a pending run goes in between.
IDLE, COMPUTE, RETURN, SCAN, ENQUEUE, SEND, READ, WAIT, LOCAL = range(9)
# Event kinds, in the order that decides between events of one CPU at one instant: a run takes its queue
# before anything waits for its end; a flush is over before the run it held back begins, and that run before
# new work.
TAKE, LOCAL_END, INTERRUPT, BEGIN, WORK = range(5)
# What a flush dropped, the greater including the less: index into `refill_ns`.
NOTHING, RANGE, FULL = range(3)


class Machine:
    """All CPUs and one heap of (time_ns, cpu * 8 + kind): ties go to the lowest CPU."""

    def __init__(
        self,
        cost: Mapping[str, float],
        *,
        cores: int,
        sockets: int,
        jobs: int,
        apic: str,
        think_ns: float,
        alloc_share: float,
        range_pages: Sequence[tuple[int, float]],
        ceiling: int,
        threads_per_core: int,
        draw: Callable[[int, int], tuple[float, float, float]],
        own: str = "after_acks",
        done: str = "flush",
        run: str = "each",
        targets: str = "online",
        flushers: int | None = None,
    ) -> None:
        for name, given, known in (
            ("apic", apic, "auto flat cluster physical"),
            ("run", run, "each first_full"),
            ("own", own, "after_acks after_sends"),
            ("done", done, "flush run_begin"),
            ("targets", targets, "online busy"),
        ):
            if given not in known.split():
                raise ValueError(f"{name}={given!r}: one of {known}")
        self.busy = n = max(1, min(int(jobs), cores))
        self.flushers = n if flushers is None else min(int(flushers), n)
        if self.flushers < 1:
            raise ValueError("flushers must be at least 1: nothing to measure without flush events")
        self.think_ns, self.alloc_share, self.ceiling, self.draw = think_ns, alloc_share, ceiling, draw
        self.own_after_sends, self.done_at_begin = own == "after_sends", done == "run_begin"
        self.first_full = run == "first_full"
        self.pages = [pages for pages, _ in range_pages]
        total = sum(weight for _, weight in range_pages)
        self.cumulative = list(accumulate(weight / total for _, weight in range_pages))
        flat = apic == "flat" or (apic == "auto" and cores <= 8)
        self.per_icr_write = cores if flat else 1 if apic == "physical" else 16

        # Sender's prices. Line distance is by socket, so one row per CPU.
        self.cost = cost
        self.enqueue_ns, self.enqueue_busy_ns = cost["enqueue_ns"], cost["enqueue_busy_ns"]
        self.refill_ns = (0.0, cost["user_refill_ns"], cost["refill_ns"])
        cpus = range(cores)
        self.ack_ns = [[cost["ack_cross_ns" if (i - j) % sockets else "ack_ns"] for j in cpus] for i in cpus]
        self.ipi_latency_ns = [
            [cost["ipi_latency_cross_ns" if (i - j) % sockets else "ipi_latency_ns"] for j in cpus] for i in cpus
        ]
        # Receiver's prices. A broadcast hits both SMT siblings at once, so a run's every part is slowed down.
        slow = cost["smt_slowdown"] if threads_per_core == 2 else 1.0
        self.slow = slow
        self.irq_entry_ns, self.irq_exit_ns = slow * cost["irq_entry_ns"], slow * cost["irq_exit_ns"]
        self.handler_ns, self.handler_full_ns = (
            slow * cost["handler_ns"],
            slow * (cost["handler_ns"] + cost["flush_all_ns"]),
        )
        # State of every CPU.
        self.now_ns = 0.0
        self.heap: list[tuple[float, int]] = []
        self.phase = [COMPUTE if k < n else IDLE for k in cpus]
        self.work_end_ns = [inf] * cores  # when the phase ends unless something delays it; inf: open
        self.closed_until_ns = [0.0] * cores  # no run begins before: interrupts are off or a run is on
        self.run_end_ns = [0.0] * cores
        self.call_single_queue: list[list[int]] = [[] for _ in cpus]  # senders, in order of llist_add
        # State of a sender's flush; it has one at a time, so its number stands for the request (csd).
        self.targets = [[j for j in (range(n) if targets == "busy" else cpus) if j != k] for k in range(n)]
        self.draws = [0] * n
        self.begin_ns, self.bookkeeping_ns, self.local_ns, self.request_ns = ([0.0] * n for _ in range(4))
        self.drops = [RANGE] * n  # what this flush drops from a TLB
        self.due = [NOTHING] * n  # what was dropped since the last compute
        self.position = [0] * n  # in targets: next to enqueue, then next to acknowledge
        self.marked: list[list[int]] = [[] for _ in range(n)]
        self.csd_done_ns = [[inf] * cores for _ in range(n)]
        self.waits_for = [-1] * n  # target whose request nobody has taken yet
        # Counts.
        self.waits_ns: list[float] = []
        self.runs = self.enqueues = self.busy_enqueues = 0
        self.handler_time_ns = [0.0, 0.0]  # on busy CPUs: outside, inside a flush event
        for k in range(self.flushers):
            self.compute(k, 0.0)

    def simulate(self, flushes: int) -> None:
        """Go on until so many flush events in all are over."""
        heap, work_end_ns, phase = self.heap, self.work_end_ns, self.phase
        step = (
            None,
            self.bookkeeping,
            self.compute,
            self.smp_call_function_many,
            self.llist_add,
            self.csd_lock_wait,
            self.csd_lock_wait,
            self.csd_lock_wait,
        )  # at the end of that phase
        event = (self.llist_del_all, self.flush_over, self.interrupt, self.begin_run)
        time_ns = self.now_ns
        while len(self.waits_ns) < flushes:
            time_ns, code = heappop(heap)
            k, kind = code >> 3, code & 7
            if kind != WORK:
                event[kind](k, time_ns)
            elif work_end_ns[k] > time_ns:
                heappush(heap, (work_end_ns[k], code))
            else:
                step[phase[k]](k, time_ns)
        self.now_ns = time_ns

    # The sender.

    def work(self, k: int, phase: int, end_ns: float) -> None:
        self.phase[k] = phase
        self.work_end_ns[k] = end_ns
        heappush(self.heap, (end_ns, k * 8 + WORK))

    def compute(self, k: int, now_ns: float) -> None:
        """Draw the next compute and the flush event after it; refill what was dropped since the last one."""
        exponential, kind, size = self.draw(k, self.draws[k])
        self.draws[k] += 1
        if kind < self.alloc_share:
            self.bookkeeping_ns[k] = self.cost["alloc_bookkeeping_ns"]
            pages = self.pages[min(bisect_right(self.cumulative, size), len(self.pages) - 1)]
        else:
            self.bookkeeping_ns[k], pages = self.cost["kunmap_bookkeeping_ns"], 1
        if pages <= self.ceiling:
            self.local_ns[k] = self.cost["flush_fixed_ns"] + pages * self.cost["invlpg_ns"]
            self.drops[k] = RANGE
        else:
            self.local_ns[k] = self.cost["flush_all_ns"]
            self.drops[k] = FULL
        self.request_ns[k] = self.handler_ns + self.slow * self.local_ns[k]
        self.work(k, COMPUTE, now_ns + exponential * self.think_ns + self.refill_ns[self.due[k]])
        self.due[k] = NOTHING

    def bookkeeping(self, k: int, now_ns: float) -> None:
        """XPFO's own work, then the walk over the mask: one piece, since nothing can be seen in between."""
        self.begin_ns[k] = now_ns
        self.work(k, SCAN, now_ns + self.bookkeeping_ns[k] + self.cost["mask_scan_ns"])

    def smp_call_function_many(self, k: int, now_ns: float) -> None:
        if not self.targets[k]:
            self.flush_local(k, now_ns)
            return
        self.position[k] = 0
        self.marked[k] = []
        self.csd_done_ns[k] = [inf] * len(self.phase)
        self.enqueue(k, self.targets[k][0], now_ns)

    def enqueue(self, k: int, target: int, now_ns: float) -> None:
        """Begin one enqueue. The line is fetched at its start, so that is where its price is decided."""
        self.enqueues += 1
        price_ns = self.enqueue_ns
        if self.call_single_queue[target]:
            self.busy_enqueues += 1
            price_ns = self.enqueue_busy_ns
        self.phase[k] = ENQUEUE
        self.work_end_ns[k] = end_ns = now_ns + price_ns
        heappush(self.heap, (end_ns, k * 8 + WORK))

    def llist_add(self, k: int, now_ns: float) -> None:
        """The enqueue's end: the request is in. Who finds the queue empty *now* owes the interrupt, whatever
        the enqueue cost: a run may have taken the queue meanwhile, and the request must not be lost."""
        targets, position = self.targets[k], self.position[k]
        target = targets[position]
        queue = self.call_single_queue[target]
        if not queue:
            self.marked[k].append(target)
        queue.append(k)
        position += 1
        if position < len(targets):
            self.position[k] = position
            self.enqueue(k, targets[position], now_ns)
        else:
            self.send(k, now_ns)

    def send(self, k: int, now_ns: float) -> None:
        """`arch_send_call_function_ipi_mask`, interrupts off: no run comes between, all times are known."""
        marked, latency_ns, send_ns = self.marked[k], self.ipi_latency_ns[k], self.cost["ipi_send_ns"]
        written_ns = now_ns
        for rank, target in enumerate(marked):
            if rank % self.per_icr_write == 0:
                written_ns += send_ns
            heappush(self.heap, (written_ns + latency_ns[target], target * 8 + INTERRUPT))
        if self.own_after_sends:
            written_ns += self.local_ns[k]
        self.position[k] = 0
        self.closed_until_ns[k] = written_ns
        self.work(k, SEND, written_ns)

    def csd_lock_wait(self, k: int, now_ns: float) -> None:
        """Read the acks that are there, in one piece; wait at the first that is not.

        One piece is exact: a run that interrupts the reading undoes none of the requests ahead."""
        targets, position = self.targets[k], self.position[k]
        done_ns, ack_ns = self.csd_done_ns[k], self.ack_ns[k]
        first, read_ns = position, now_ns
        while position < len(targets) and done_ns[targets[position]] <= read_ns:
            read_ns += ack_ns[targets[position]]
            position += 1
        self.position[k] = position
        if position > first:
            self.work(k, READ, read_ns)
        elif position == len(targets):
            (self.flush_over if self.own_after_sends else self.flush_local)(k, now_ns)
        elif done_ns[targets[position]] < inf:
            self.work(k, WAIT, done_ns[targets[position]])
        else:
            self.phase[k] = WAIT
            self.work_end_ns[k] = inf
            self.waits_for[k] = targets[position]

    def flush_local(self, k: int, now_ns: float) -> None:
        """Own `local(p)`, interrupts off."""
        self.phase[k] = LOCAL
        self.closed_until_ns[k] = end_ns = now_ns + self.local_ns[k]
        heappush(self.heap, (end_ns, k * 8 + LOCAL_END))

    def flush_over(self, k: int, now_ns: float) -> None:
        self.waits_ns.append(now_ns - self.begin_ns[k])
        self.due[k] = max(self.due[k], self.drops[k])
        self.work(k, RETURN, now_ns)

    # The receiver.

    def interrupt(self, k: int, now_ns: float) -> None:
        """The interrupt reaches CPU k. An idle CPU wakes first, unless a run has it awake already."""
        if self.closed_until_ns[k] <= now_ns and self.phase[k] == IDLE:
            heappush(self.heap, (now_ns + self.cost["idle_exit_ns"], k * 8 + BEGIN))
        else:
            self.begin_run(k, now_ns)

    def begin_run(self, k: int, now_ns: float) -> None:
        """Begin a run, or stay pending until interrupts are on and no run is on."""
        if self.closed_until_ns[k] > now_ns:
            heappush(self.heap, (self.closed_until_ns[k], k * 8 + BEGIN))
            return
        self.runs += 1
        self.delay(k, now_ns, now_ns + self.irq_entry_ns)
        heappush(self.heap, (now_ns + self.irq_entry_ns, k * 8 + TAKE))

    def llist_del_all(self, k: int, now_ns: float) -> None:
        """After `irq_entry_ns`: take the queue. Nothing interrupts a run, so every end in it is known now."""
        senders = self.call_single_queue[k]
        self.call_single_queue[k] = []
        drops, at_ns = FULL if self.first_full else RANGE, now_ns
        for rank, sender in enumerate(senders):
            if self.first_full:
                at_ns += self.handler_ns if rank else self.handler_full_ns
            else:
                at_ns += self.request_ns[sender]
                drops = max(drops, self.drops[sender])
            self.csd_done_ns[sender][k] = done_ns = now_ns if self.done_at_begin else at_ns
            if self.waits_for[sender] == k:
                self.waits_for[sender] = -1
                self.work(sender, WAIT, max(done_ns, self.run_end_ns[sender]))
        self.delay(k, now_ns, at_ns + self.irq_exit_ns)
        if self.phase[k] == COMPUTE:
            self.work_end_ns[k] += self.refill_ns[drops]
        elif k < self.busy:
            self.due[k] = max(self.due[k], drops)

    def delay(self, k: int, now_ns: float, end_ns: float) -> None:
        """A run has CPU k until `end_ns`: its own work stands still, only waiting for an ack goes on."""
        self.closed_until_ns[k] = self.run_end_ns[k] = end_ns
        if k < self.busy:
            if self.phase[k] == WAIT:
                self.work_end_ns[k] = max(self.work_end_ns[k], end_ns)
            else:
                self.work_end_ns[k] += end_ns - now_ns
            self.handler_time_ns[self.phase[k] >= SCAN] += end_ns - now_ns

    def counts(self) -> np.ndarray:
        """Runs, enqueues, busy ones, handler time outside and inside flush events, all up to now exactly."""
        handler_ns = list(self.handler_time_ns)
        for k in range(self.busy):
            handler_ns[self.phase[k] >= SCAN] -= max(0.0, self.run_end_ns[k] - self.now_ns)
        return np.array([self.runs, self.enqueues, self.busy_enqueues, *handler_ns])


def broadcast(
    cost: Mapping[str, float],
    *,
    cores: int,
    sockets: int,
    jobs: int,
    apic: str,
    think_ns: float,
    alloc_share: float,
    range_pages: Sequence[tuple[int, float]],
    ceiling: int,
    threads_per_core: int,
    draw: Callable[[int, int], tuple[float, float, float]],
    events: int,
    warmup_events: int,
    own: str = "after_acks",
    done: str = "flush",
    run: str = "each",
    targets: str = "online",
    flushers: int | None = None,
) -> dict[str, float | np.ndarray]:
    """Simulate `warmup_events` flush events, then measure `events` more."""
    machine = Machine(
        cost,
        cores=cores,
        sockets=sockets,
        jobs=jobs,
        apic=apic,
        think_ns=think_ns,
        run=run,
        alloc_share=alloc_share,
        range_pages=range_pages,
        ceiling=ceiling,
        draw=draw,
        own=own,
        threads_per_core=threads_per_core,
        done=done,
        targets=targets,
        flushers=flushers,
    )
    machine.simulate(warmup_events)
    begin_ns, before = machine.now_ns, machine.counts()
    machine.simulate(warmup_events + events)
    window_ns = machine.now_ns - begin_ns
    runs, enqueues, busy_enqueues, compute_ns, flush_ns = (machine.counts() - before).tolist()
    waits_ns = np.array(machine.waits_ns[warmup_events:])
    p50_ns, p99_ns = np.quantile(waits_ns, [0.5, 0.99])
    return {
        "flush_wait_ns": float(waits_ns.mean()),
        "flush_wait_p50_ns": float(p50_ns),
        "flush_wait_p99_ns": float(p99_ns),
        "flush_interval_ns": window_ns / events,
        "interrupts_per_flush": runs / events,
        "handler_share": (compute_ns + flush_ns) / (machine.busy * window_ns),
        "handler_compute_ns": compute_ns / events,
        "handler_flush_ns": flush_ns / events,
        "busy_queue_share": busy_enqueues / enqueues if enqueues else 0.0,
        "waits": waits_ns,
    }
