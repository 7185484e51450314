/* A broadcast by interrupts in C, for policy xpfo: one event per request. sim/machine/compiled/broadcast.py says the same
   for all policies; comments are there. benchmarks/c.py fills in `struct lanes`.

   Who comes next is known from a knock-out over the CPUs: each match holds the earlier of two times and whose it is.
*/

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define NEVER (-1e200) /* before any time */

struct lanes {
    long lanes, cpus, busy, senders, reach; /* reach: marked targets of one ICR write */
    long kinds;                                      /* of alloc events; the kind after them is kunmap */
    long draws;                                      /* of each CPU that are in the tables */
    const double *costs;                             /* [lane][cost], in ns, as benchmarks/c.py orders them */
    const double *compute, *which, *pages;           /* [replica][cpu][draw] */
    const long *replica;
    const double *think_ns, *alloc_share;
    const double *cumulative;             /* [lane][kind of alloc] */
    const double *bookkeeping_ns, *local_ns; /* [lane][kind] */
    const bool *full;                     /* [lane][kind] */
    const double *line;                   /* [lane][distance]: a cache line on its way, in ns */
    const unsigned char *apart;           /* [cpu][cpu]: the distance */
    const double *slow, *slow_sender;     /* [lane][cpu]: instructions of handler runs, and of requests, take so long */
    const long *socket;                   /* [cpu] */
    long *used;                           /* [lane][cpu] draws used */
    char *state;                          /* [lane][bytes_of_lane()] */
    double *counts;                       /* [lane][4]: interrupts, handler_ns, handler_compute_ns, refills */
};

struct cost {
    double mask_scan, enqueue_fixed, queue_lines, csd_lines, ipi_send, ipi_latency, ipi_latency_cross;
    double irq_entry, handler_fixed, request_lines, irq_exit, ack_lines, idle_exit, refill, user_refill;
};

static inline double later(double a, double b)
{
    return a > b ? a : b;
}

/* The next flush event of a CPU: its kind, and in *compute how long the CPU computes before. */
static inline long draw(const struct lanes *all, long lane, long cpu, double *compute)
{
    long *used = all->used + lane * all->senders + cpu;
    long at = (all->replica[lane] * all->senders + cpu) * all->draws + (*used)++;
    double share = all->which[at] < all->alloc_share[lane] ? all->pages[at] : 2.0;
    long kind = 0;
    for (long each = 0; each < all->kinds; each++)
        kind += share >= all->cumulative[lane * all->kinds + each];
    *compute = all->compute[at] * all->think_ns[lane];
    return kind;
}


enum phase { IDLE, COMPUTE, RETURN, BOOKKEEPING, SCAN, ENQUEUE, SEND, READ, WAIT };
enum take { INTERRUPT, BEGIN, TAKE };
enum { NOTHING, RANGE, FULL };

struct match {
    double due;
    long cpu;
};

struct cpu {
    double work_end, closed_until, run_end;
    double queue_free; /* the line of call_single_queue is occupied until then, */
    long queue_owner;  /* and was this CPU's last */
    enum phase phase;
    enum take take;
    int dropped, queued;
};

struct sender {
    double began, flushed;
    long kind, position, waits_for, watched, marks;
    int drops;
};

struct lane {
    long turn, served;
    bool begun;
};

struct run { /* of one lane, while it is served */
    const struct lanes *all;
    struct cost cost;
    struct lane *lane;
    struct match *work, *takes;
    long work_leaves, take_leaves;
    struct cpu *cpus;
    struct sender *senders;
    double *done;           /* [sender][target] */
    short *queue, *marked; /* [target][place], [sender][place] */
    const double *bookkeeping_ns, *local_ns;
    const bool *full;
    const double *line, *slow, *slow_sender;
    double *counts;
    long number;
};

static long leaves(long players)
{
    long count = 2;
    while (count < players)
        count *= 2;
    return count;
}

long bytes_of_lane(const struct lanes *all)
{
    long pairs = all->senders * all->cpus;
    return sizeof(struct lane) + 2 * (leaves(all->senders) + leaves(all->cpus)) * sizeof(struct match)
           + all->cpus * sizeof(struct cpu) + all->senders * sizeof(struct sender) + pairs * sizeof(double)
           + (2 * pairs * sizeof(short) + 7) / 8 * 8;
}

static struct run run_of(const struct lanes *all, long number)
{
    long kinds = all->kinds + 1, pairs = all->senders * all->cpus;
    struct run run = {
        .all = all, .cost = ((const struct cost *)all->costs)[number], .number = number,
        .counts = all->counts + 4 * number, .line = all->line + 5 * number,
        .slow = all->slow + number * all->cpus, .slow_sender = all->slow_sender + number * all->cpus,
        .bookkeeping_ns = all->bookkeeping_ns + number * kinds, .local_ns = all->local_ns + number * kinds,
        .full = all->full + number * kinds,
        .work_leaves = leaves(all->senders), .take_leaves = leaves(all->cpus),
    };
    run.lane = (struct lane *)(all->state + number * bytes_of_lane(all));
    run.work = (struct match *)(run.lane + 1);
    run.takes = run.work + 2 * run.work_leaves;
    run.cpus = (struct cpu *)(run.takes + 2 * run.take_leaves);
    run.senders = (struct sender *)(run.cpus + all->cpus);
    run.done = (double *)(run.senders + all->senders);
    run.queue = (short *)(run.done + pairs);
    run.marked = run.queue + pairs;
    return run;
}

/* A time has changed: play its matches anew. The earlier one wins, the lower CPU among equals. */
static inline void play_again(struct match *tree, long leaves, long k, double due)
{
    long match = leaves + k;
    tree[match].due = due;
    while (match > 1) {
        match /= 2;
        struct match left = tree[2 * match], right = tree[2 * match + 1];
        struct match winner = right.due < left.due ? right : left;
        if (winner.cpu != k && tree[match].cpu == winner.cpu)
            return; /* somebody else wins here, as before */
        tree[match] = winner;
    }
}

static inline void set_work(struct run *run, long k, enum phase phase, double end)
{
    run->cpus[k].phase = phase;
    run->cpus[k].work_end = end;
    play_again(run->work, run->work_leaves, k, end);
}

static inline void set_take(struct run *run, long j, enum take what, double due)
{
    run->cpus[j].take = what;
    play_again(run->takes, run->take_leaves, j, due);
}

static void seat(struct match *tree, long leaves)
{
    for (long k = 0; k < leaves; k++)
        tree[leaves + k] = (struct match){INFINITY, k};
    for (long match = leaves - 1; match > 0; match--)
        tree[match] = tree[2 * match];
}

static void begin(struct run *run)
{
    const struct lanes *all = run->all;
    run->lane->begun = true;
    seat(run->work, run->work_leaves);
    seat(run->takes, run->take_leaves);
    for (long k = 0; k < all->cpus; k++)
        run->cpus[k] = (struct cpu){
            .work_end = INFINITY, .phase = k < all->busy ? COMPUTE : IDLE, .queue_owner = k, .queue_free = NEVER};
    for (long k = 0; k < all->senders; k++) {
        double until;
        run->senders[k] = (struct sender){.waits_for = -1, .watched = -1, .flushed = NAN};
        run->senders[k].kind = draw(all, run->number, k, &until);
        set_work(run, k, COMPUTE, until);
    }
}

static inline double miss(const struct cost *cost, int dropped)
{
    return dropped == FULL ? cost->refill : dropped == RANGE ? cost->user_refill : 0.0;
}

static inline double line_between(const struct run *run, long owner, long taker)
{
    return run->line[run->all->apart[owner * run->all->cpus + taker]];
}

/* CPU k takes the line of CPU j's call_single_queue: when it has it. */
static inline double take_queue(struct run *run, long j, long k, double now)
{
    struct cpu *cpu = run->cpus + j;
    double end = later(now, cpu->queue_free) + run->cost.queue_lines * line_between(run, cpu->queue_owner, k);
    cpu->queue_owner = k;
    cpu->queue_free = end;
    return end;
}

/* The receiver */

static inline void delay(struct run *run, long j, double now, double end)
{
    struct cpu *cpu = run->cpus + j;
    cpu->closed_until = cpu->run_end = end;
    if (j >= run->all->busy)
        return;
    if (cpu->phase == WAIT)
        cpu->work_end = later(cpu->work_end, end);
    else
        cpu->work_end += end - now;
    run->counts[1] += end - now;
    if (cpu->phase < BOOKKEEPING)
        run->counts[2] += end - now;
}

static void llist_del_all(struct run *run, long j, double now)
{
    /* flush_smp_call_function_queue(): the requests of the queue as it is now */
    struct cpu *cpu = run->cpus + j;
    int dropped = NOTHING;
    double at = take_queue(run, j, j, now);
    for (int place = 0; place < cpu->queued; place++) {
        long k = run->queue[j * run->all->senders + place];
        struct sender *sender = run->senders + k;
        double handler = run->cost.handler_fixed * run->slow[j] + run->cost.request_lines * line_between(run, k, j);
        at += handler + run->local_ns[sender->kind] * run->slow[j];
        dropped = sender->drops > dropped ? sender->drops : dropped;
        if (sender->watched == j)
            sender->flushed = at;
        run->done[k * run->all->cpus + j] = at;
        if (sender->waits_for == j) {
            sender->waits_for = -1;
            set_work(run, k, WAIT, later(at, run->cpus[k].run_end));
        }
    }
    cpu->queued = 0;
    set_take(run, j, INTERRUPT, INFINITY);
    delay(run, j, now, at + run->cost.irq_exit * run->slow[j]);
    if (j >= run->all->busy)
        return;
    if (cpu->phase == COMPUTE) {
        cpu->work_end += miss(&run->cost, dropped);
        run->counts[3] += dropped == FULL;
    } else {
        cpu->dropped = dropped > cpu->dropped ? dropped : cpu->dropped;
    }
}

static void take(struct run *run, long j, double now)
{
    struct cpu *cpu = run->cpus + j;
    if (cpu->take == TAKE) {
        llist_del_all(run, j, now);
    } else if (cpu->take == INTERRUPT && cpu->closed_until <= now && cpu->phase == IDLE && run->cost.idle_exit > 0.0) {
        set_take(run, j, BEGIN, now + run->cost.idle_exit);
    } else if (cpu->closed_until > now) {
        set_take(run, j, BEGIN, cpu->closed_until);
    } else {
        double entered = now + run->cost.irq_entry * run->slow[j];
        delay(run, j, now, entered);
        set_take(run, j, TAKE, entered);
    }
}

/* The sender. Each function answers when what the CPU does next ends, and in *phase what that is. */

static double send(struct run *run, long k, double now, enum phase *phase)
{
    /* arch_send_call_function_ipi_mask(): ICR writes for the marked targets, interrupts off */
    struct sender *sender = run->senders + k;
    long room = 0;
    const long *socket = run->all->socket;
    for (long place = 0; place < sender->marks; place++) {
        long target = run->marked[k * run->all->cpus + place];
        if (room == 0) {
            now += run->cost.ipi_send;
            room = run->all->reach;
        }
        room--;
        bool near = socket[target] == socket[k];
        set_take(run, target, INTERRUPT, now + (near ? run->cost.ipi_latency : run->cost.ipi_latency_cross));
    }
    run->counts[0] += sender->marks;
    run->cpus[k].closed_until = now;
    sender->position = k == 0;
    *phase = SEND;
    return now;
}

static inline double enqueue(struct run *run, long k, long target, double now, enum phase *phase)
{
    run->senders[k].position = target;
    *phase = ENQUEUE;
    double own = run->cost.enqueue_fixed * run->slow_sender[k] + run->cost.csd_lines * line_between(run, target, k);
    return take_queue(run, target, k, now) + own;
}

static inline double llist_add(struct run *run, long k, double now, enum phase *phase)
{
    /* llist_add(): the request is in, and who finds the queue empty now owes the interrupt */
    struct sender *sender = run->senders + k;
    long target = sender->position, cpus = run->all->cpus;
    struct cpu *cpu = run->cpus + target;
    if (cpu->queued == 0)
        run->marked[k * cpus + sender->marks++] = target;
    run->queue[target * run->all->senders + cpu->queued++] = k;
    run->done[k * cpus + target] = INFINITY;
    target++;
    target += target == k;
    return target < cpus ? enqueue(run, k, target, now, phase) : send(run, k, now, phase);
}

static double begin_loop(struct run *run, long k, double now, enum phase *phase)
{
    /* smp_call_function_many(): the loop over the targets */
    struct sender *sender = run->senders + k;
    sender->drops = run->full[sender->kind] ? FULL : RANGE;
    sender->marks = 0;
    sender->flushed = NAN;
    long busy = run->all->busy, first = k == 0;
    if (busy > 1) {
        run->lane->turn = run->lane->turn + 1 < busy - 1 ? run->lane->turn + 1 : 0;
        sender->watched = k + 1 + run->lane->turn;
        sender->watched -= sender->watched < busy ? 0 : busy;
    }
    return first < run->all->cpus ? enqueue(run, k, first, now, phase) : send(run, k, now, phase);
}

static double csd_lock_wait(struct run *run, long k, double now, enum phase *phase)
{
    /* csd_lock_wait(): read the acks that are there in one piece, and wait at the first that is not */
    struct sender *sender = run->senders + k;
    const double *done = run->done + k * run->all->cpus;
    long target = sender->position, cpus = run->all->cpus;
    double read = now;
    while (target < cpus && done[target] <= read) {
        read += run->cost.ack_lines * line_between(run, target, k);
        target++;
        target += target == k;
    }
    bool moved = target != sender->position;
    sender->position = target;
    *phase = moved ? READ : target < cpus ? WAIT : RETURN;
    if (moved || target >= cpus)
        return read;
    if (done[target] == INFINITY)
        sender->waits_for = target;
    return done[target];
}

static double end_of_event(struct run *run, long k, double now, double *wait, double *window)
{
    struct sender *sender = run->senders + k;
    struct cpu *cpu = run->cpus + k;
    int drops = run->full[sender->kind] ? FULL : RANGE;
    now += run->local_ns[sender->kind];
    cpu->closed_until = now;
    cpu->dropped = drops > cpu->dropped ? drops : cpu->dropped;
    *wait = now - sender->began;
    *window = run->all->busy > 1 ? sender->flushed - (sender->began + run->bookkeeping_ns[sender->kind]) : NAN;
    run->lane->served++;
    return now;
}

static double next_compute(struct run *run, long k, double now)
{
    struct cpu *cpu = run->cpus + k;
    double compute;
    run->senders[k].kind = draw(run->all, run->number, k, &compute);
    int dropped = cpu->dropped;
    cpu->dropped = NOTHING;
    run->counts[3] += dropped == FULL;
    return now + compute + miss(&run->cost, dropped);
}

static void work(struct run *run, long k, double now, double *waits, double *windows)
{
    struct sender *sender = run->senders + k;
    enum phase phase = run->cpus[k].phase;
    long lanes = run->all->lanes, row = run->lane->served;
    double end = run->cpus[k].work_end;
    if (end > now) { /* delayed meanwhile */
    } else if (phase == ENQUEUE) {
        end = llist_add(run, k, now, &phase);
    } else if (phase >= SEND) {
        end = csd_lock_wait(run, k, now, &phase);
        if (phase == RETURN)
            end = end_of_event(run, k, now, &waits[row], &windows[row]);
    } else if (phase == RETURN) {
        end = next_compute(run, k, now);
        phase = COMPUTE;
    } else if (phase == COMPUTE) {
        sender->began = now;
        end = now + run->bookkeeping_ns[sender->kind];
        phase = BOOKKEEPING;
    } else if (phase == BOOKKEEPING) {
        end = now + run->cost.mask_scan;
        phase = SCAN;
    } else {
        end = begin_loop(run, k, now, &phase);
    }
    set_work(run, k, phase, end);
}

/* Serve flush events, lane after lane; their waits and windows, [lane][event]. */
void serve(const struct lanes *all, long events, double *waits, double *windows)
{
    for (long lane = 0; lane < all->lanes; lane++) {
        struct run run = run_of(all, lane);
        if (!run.lane->begun)
            begin(&run);
        run.lane->served = 0;
        while (run.lane->served < events) {
            struct match next = run.work[1], taking = run.takes[1];
            if (taking.due < next.due || (taking.due == next.due && taking.cpu <= next.cpu))
                take(&run, taking.cpu, taking.due);
            else
                work(&run, next.cpu, next.due, waits + lane * events, windows + lane * events);
        }
    }
}
