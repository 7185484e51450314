/* The coarse rule of a broadcast by interrupts in C, for policy xpfo: all other CPUs are told, each flushes the range,
   and the sender flushes its own TLB after the acks. sim/machine/compiled/broadcast.py says the same for all policies;
   comments are there. Both give the same bits if nothing is contracted to a fused multiply-add.
*/

#include "lanes.h"

enum { STARTS = 2 };

struct cpu {
    double run_begin, run_end, full_run; /* the last handler run */
};

struct sender {
    double start, loop_begin, loop_end, busy_targets; /* the flush event to come, or in progress */
    double began, last_done, acked, own;              /* the one whose loop ended last */
    long kind;
    bool refilled, refills_next;
};

struct lane {
    double ended; /* end of the last loop */
    long turn;    /* which of the other busy CPUs is watched */
    bool begun;
};

struct run { /* of one lane, while it is served */
    const struct lanes *all;
    struct cost cost;
    struct lane *lane;
    struct cpu *cpus;
    struct sender *senders;
    const double *bookkeeping_ns, *local_ns;
    const bool *full;
    double *counts;
    long number;
};

struct event {
    long sender, kind;
    double now, began, local;
    bool full;
    double joined, new, miss;
};

struct sums {
    long marked, marked_senders, marked_others, writes, computing, disturbed, refills;
    double last_done, acked;
};

long bytes_of_lane(const struct lanes *all)
{
    return sizeof(struct lane) + all->cpus * sizeof(struct cpu) + all->senders * sizeof(struct sender);
}

static void compute(struct run *run, long k, double until, long kind)
{
    struct sender *sender = run->senders + k;
    double work = run->bookkeeping_ns[kind] + run->cost.mask_scan;
    sender->start = until;
    sender->loop_end = until + work + (run->all->cpus - 1) * run->cost.enqueue;
    sender->kind = kind;
    sender->busy_targets = 0.0;
}

static void begin(struct run *run)
{
    run->lane->begun = true;
    run->lane->ended = NEVER;
    for (long k = 0; k < run->all->cpus; k++)
        run->cpus[k] = (struct cpu){NEVER, NEVER, NAN};
    for (long k = 0; k < run->all->senders; k++) {
        double until;
        long kind = draw(run->all, run->number, k, &until);
        run->senders[k] = (struct sender){.last_done = NEVER};
        compute(run, k, until, kind);
    }
}

static void begin_loops(struct run *run)
{
    const struct cost *cost = &run->cost;
    double others = run->all->cpus - 1.0, horizon = INFINITY, in_progress = 0.0;
    for (long k = 0; k < run->all->senders; k++) {
        const struct sender *sender = run->senders + k;
        horizon = sender->loop_end < horizon ? sender->loop_end : horizon;
        if (sender->start < 0.0)
            in_progress = later(in_progress, sender->loop_end);
    }
    double ahead = later(in_progress > 0.0 ? in_progress : NEVER, run->lane->ended);
    for (int round = 0; round < STARTS; round++) {
        long j = 0;
        double start = INFINITY;
        for (long k = 0; k < run->all->senders; k++)
            if (run->senders[k].start >= 0.0 && run->senders[k].start < start) {
                j = k;
                start = run->senders[k].start;
            }
        if (start > horizon)
            return;
        struct sender *sender = run->senders + j;
        double shorter = sender->loop_end;
        double busy = (ahead + cost->empties - (shorter - others * cost->enqueue)) / cost->gains;
        busy = later(busy, 0.0);
        busy = busy < others ? busy : others;
        double loop_end = shorter + busy * (cost->enqueue_busy - cost->enqueue);
        if (shorter <= run->cpus[j].run_begin && run->cpus[j].run_begin < loop_end)
            loop_end += run->cpus[j].run_end - run->cpus[j].run_begin;
        ahead = later(ahead, loop_end);
        sender->loop_end = loop_end;
        sender->busy_targets += busy;
        sender->loop_begin = start;
        sender->start = NEVER;
    }
}

static struct event end_loop(struct run *run, double *wait)
{
    /* smp_call_function_many(): whose loop over its targets ends next */
    begin_loops(run);
    long i = 0;
    for (long k = 1; k < run->all->senders; k++)
        if (run->senders[k].loop_end < run->senders[i].loop_end)
            i = k;
    struct sender *sender = run->senders + i;
    const struct cost *cost = &run->cost;
    long kind = sender->kind;
    *wait = sender->acked + sender->own - sender->began;
    run->lane->ended = sender->loop_end;
    sender->began = sender->start < 0.0 ? sender->loop_begin : sender->start;
    double local = run->local_ns[kind], flush = local * cost->slow;
    return (struct event){
        .sender = i, .kind = kind, .now = sender->loop_end, .began = sender->began,
        .local = local, .full = run->full[kind],
        .joined = cost->handler + flush, .new = cost->irq_entry + cost->handler + flush + cost->irq_exit,
        .miss = run->full[kind] ? cost->refill : cost->user_refill,
    };
}

static inline void handler_run(struct cpu *cpu, const struct event *event, bool mark, double resume)
{
    cpu->run_end = (mark ? event->new - event->joined + event->joined : event->joined) + resume;
    if (mark)
        cpu->run_begin = resume;
}

static inline bool flushes_fully(struct cpu *cpu, bool mark)
{
    if (!mark && cpu->full_run == cpu->run_begin)
        return false;
    cpu->full_run = cpu->run_begin;
    return true;
}

static inline void run_on_sender(struct run *run, const struct event *event, long k, bool mark, double resume,
                                 struct sums *sums)
{
    struct cpu *cpu = run->cpus + k;
    struct sender *sender = run->senders + k;
    double free = sender->acked + sender->own, dearer = run->cost.refill - run->cost.user_refill;
    bool reading = resume < sender->acked;
    if (!reading)
        resume = later(resume, free);
    handler_run(cpu, event, mark, resume);
    double delay = later(cpu->run_end - later(resume, sender->last_done), 0.0);
    if (reading)
        sender->acked += delay;
    bool computing = !reading && resume < sender->start;
    if (computing && mark)
        delay += event->miss;
    if (event->full && flushes_fully(cpu, mark)) {
        if (computing) {
            sums->refills++;
            if (!mark)
                delay += dearer;
        } else if (resume > free) {
            sender->refills_next = true;
        } else if (!sender->refilled) {
            sender->refilled = true;
            sums->refills++;
            delay += dearer;
        }
    }
    if (resume < sender->start)
        sender->start += delay;
    if (resume < sender->loop_end)
        sender->loop_end += delay;
    sums->marked_senders += mark;
    sums->computing += computing;
    sums->disturbed += computing && mark;
}

static struct sums deliver(struct run *run, const struct event *event)
{
    const struct lanes *all = run->all;
    const struct cost cost = run->cost;
    double now = event->now, saving = cost.ack_cross - cost.ack;
    long sockets = all->sockets, near = event->sender % sockets, on_socket = (all->cpus - 1 - near) / sockets + 1;
    double interrupt_near = cost.ipi_latency + now, interrupt_cross = cost.ipi_latency_cross + now;
    double dearer = cost.enqueue_busy - cost.enqueue, empty = now - cost.irq_entry;
    double in_use = empty + (all->cpus - 1 - run->senders[event->sender].busy_targets) * dearer;
    double ack_less = cost.ack, empty_below = empty + cost.enqueue, in_use_below = in_use + cost.enqueue_busy;
    bool both = cost.enqueue_busy >= cost.enqueue;
    struct sums sums = {.last_done = NEVER, .acked = NEVER};
    long room = 0, socket = -1;
    double saved = 0.0, left = all->cpus + 1.0;
    for (long k = 0; k < all->cpus; k++) {
        struct cpu *cpu = run->cpus + k;
        left -= 1.0;
        if (++socket == sockets) {
            socket = 0;
            saved = k / sockets * saving;
        }
        if (k == event->sender) {
            ack_less = 0.0;
            empty_below = empty;
            in_use_below = in_use;
            continue;
        }
        /* llist_add(): a request joins the run that is still to take the queue, or needs an interrupt */
        double after = left - 1.0;
        bool cheap = cpu->run_begin + after * cost.enqueue <= empty_below;
        bool dear = cpu->run_begin + after * cost.enqueue_busy <= in_use_below;
        bool mark = both ? cheap & dear : cheap | dear;
        double resume = later(cpu->run_end, 0.0);
        /* arch_send_call_function_ipi_mask(): ICR writes for the marked targets */
        if (mark) {
            if (room == 0) {
                sums.writes++;
                room = all->reach;
            }
            sums.marked++;
            room--;
            double interrupt = sums.writes * cost.ipi_send + (socket == near ? interrupt_near : interrupt_cross);
            if (k >= all->busy && cpu->run_end <= interrupt)
                interrupt += cost.idle_exit;
            resume = later(interrupt, cpu->run_end);
        }
        /* flush_smp_call_function_queue(): handler runs on the targets */
        if (k < all->senders) {
            run_on_sender(run, event, k, mark, resume, &sums);
        } else {
            handler_run(cpu, event, mark, resume);
            if (k < all->busy) {
                sums.marked_others += mark;
                sums.refills += event->full && flushes_fully(cpu, mark);
            }
        }
        /* csd_lock_wait(): acks, later ones all read once this one is */
        double read = cpu->run_end + (left * cost.ack_cross + saved) - ack_less;
        sums.last_done = later(sums.last_done, cpu->run_end);
        sums.acked = later(sums.acked, read + -cost.irq_exit - (on_socket - (near < socket)) * saving);
    }
    sums.last_done = sums.last_done + -cost.irq_exit;
    return sums;
}

static void count(struct run *run, const struct event *event, const struct sums *sums)
{
    long busy = run->all->busy;
    double new = sums->marked_senders + sums->marked_others;
    run->counts[0] += sums->marked;
    run->counts[1] += new * event->new + (busy - 1 - new) * event->joined;
    new = sums->marked_others + sums->disturbed;
    double every = busy - run->all->senders + sums->computing;
    run->counts[2] += new * event->new + (every - new) * event->joined;
    run->counts[3] += sums->refills;
}

static double watch_window(struct run *run, const struct event *event)
{
    long busy = run->all->busy;
    if (busy == 1)
        return NAN;
    run->lane->turn = run->lane->turn + 1 < busy - 1 ? run->lane->turn + 1 : 0;
    long watched = event->sender + 1 + run->lane->turn;
    watched -= watched < busy ? 0 : busy;
    return run->cpus[watched].run_end - run->cost.irq_exit - (event->began + run->bookkeeping_ns[event->kind]);
}

static void finish(struct run *run, const struct event *event, const struct sums *sums)
{
    const struct cost *cost = &run->cost;
    long i = event->sender, others = run->all->cpus - 1, sockets = run->all->sockets;
    struct cpu *cpu = run->cpus + i;
    struct sender *sender = run->senders + i;
    double sent = event->now + sums->writes * cost->ipi_send, saving = cost->ack_cross - cost->ack;
    long near = (others - i % sockets) / sockets;
    double acked = later(sent + (others * cost->ack_cross - near * saving), sums->acked);
    double run_begin = cpu->run_begin, length = cpu->run_end - run_begin;
    bool waiting = run_begin >= event->now;
    double resume = later(run_begin, sent);
    bool reading = waiting && resume < acked, afterwards = waiting && !reading;
    if (reading)
        acked += later(resume + length - later(resume, sums->last_done), 0.0);
    double free = acked + event->local;
    if (afterwards)
        resume = later(resume, free);
    double shift = waiting ? resume - run_begin : 0.0;
    cpu->full_run = cpu->full_run == run_begin ? run_begin + shift : NAN;
    cpu->run_begin = run_begin + shift;
    cpu->run_end = later(cpu->run_end + shift, sent);
    sender->last_done = sums->last_done;
    sender->acked = acked;
    sender->own = event->local;

    double until;
    long kind = draw(run->all, run->number, i, &until);
    bool refill = sender->refills_next || event->full;
    sender->refills_next = false;
    sender->refilled = refill;
    run->counts[3] += refill;
    double start = free + until + (refill ? cost->refill : cost->user_refill);
    bool in_compute = afterwards && resume < start;
    if (in_compute) {
        run->counts[2] += length;
        start += length;
    }
    compute(run, i, start, kind);
    if (afterwards && !in_compute && resume < sender->loop_end)
        sender->loop_end += length;
}

/* Serve flush events, lane after lane; their waits and windows, [event][lane]. */
void serve(const struct lanes *all, long events, double *waits, double *windows)
{
    for (long lane = 0; lane < all->lanes; lane++) {
        char *state = all->state + lane * bytes_of_lane(all);
        long kinds = all->kinds + 1;
        struct run run = {
            .all = all, .cost = cost_of_lane(all, lane), .lane = (struct lane *)state, .number = lane,
            .cpus = (struct cpu *)(state + sizeof(struct lane)), .counts = all->counts + 4 * lane,
            .senders = (struct sender *)(state + sizeof(struct lane) + all->cpus * sizeof(struct cpu)),
            .bookkeeping_ns = all->bookkeeping_ns + lane * kinds, .local_ns = all->local_ns + lane * kinds,
            .full = all->full + lane * kinds,
        };
        if (!run.lane->begun)
            begin(&run);
        for (long row = 0; row < events; row++) {
            struct event event = end_loop(&run, &waits[row * all->lanes + lane]);
            struct sums sums = deliver(&run, &event);
            count(&run, &event, &sums);
            windows[row * all->lanes + lane] = watch_window(&run, &event);
            finish(&run, &event, &sums);
        }
    }
}
