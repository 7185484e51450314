/* What both C programs are given: the lanes of a group, their costs and their draws. benchmarks/c.py fills this in.

   Costs are in ns and come in the order of sim/machine/compiled/interrupts.py. Arrays have one row per lane unless said.
*/

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define NEVER (-1e200) /* before any time */

struct lanes {
    long lanes, cpus, sockets, busy, senders, reach; /* reach: marked targets of one ICR write */
    long kinds;                                      /* of alloc events; the kind after them is kunmap */
    long draws;                                      /* of each CPU that are in the tables */
    const double *costs;                             /* [lane][cost] */
    const double *compute, *which, *pages;           /* [replica][cpu][draw] */
    const long *replica;
    const double *think_ns, *alloc_share;
    const double *cumulative;             /* [lane][kind of alloc] */
    const double *bookkeeping_ns, *local_ns; /* [lane][kind] */
    const bool *full;                     /* [lane][kind] */
    long *used;                           /* [lane][cpu] draws used */
    char *state;                          /* [lane][bytes_of_lane()] */
    double *counts;                       /* [lane][4]: interrupts, handler_ns, handler_compute_ns, refills */
};

struct cost {
    double mask_scan, enqueue, enqueue_busy, ipi_send, ipi_latency, ipi_latency_cross;
    double irq_entry, handler, irq_exit, ack, ack_cross, idle_exit, refill, user_refill;
    double slow;    /* handler runs take so many times as long */
    double empties; /* from the end of the loop ahead until its interrupts empty the first queue, */
    double gains;   /* and what they gain on the loop behind with each further queue */
};

static inline double later(double a, double b)
{
    return a > b ? a : b;
}

static struct cost cost_of_lane(const struct lanes *all, long lane)
{
    const double *c = all->costs + 16 * lane;
    double slow = c[15];
    struct cost cost = {
        .mask_scan = c[0], .enqueue = c[1], .enqueue_busy = c[2], .ipi_send = c[3],
        .ipi_latency = c[4], .ipi_latency_cross = c[5],
        .irq_entry = c[6] * slow, .handler = c[7] * slow, .irq_exit = c[8] * slow,
        .ack = c[9], .ack_cross = all->sockets > 1 ? c[10] : c[9], .idle_exit = c[11],
        .refill = c[13], .user_refill = c[14], .slow = slow,
    };
    cost.empties = cost.ipi_send + cost.ipi_latency + cost.irq_entry;
    cost.gains = later(cost.enqueue_busy - cost.ipi_send / all->reach, 1e-9);
    return cost;
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
