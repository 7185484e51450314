/* A closed loop around the kernel's own broadcast: think, call, think, call, on pinned threads.
 *
 * measure OP CALLERS SPINNERS THINK_NS PAGES SECONDS SEED CPU...
 *
 * Caller k runs on the k-th CPU given, spinner k on the k-th one after the callers: it only runs user code, and records
 * its absences. One more thread sleeps, so that a single caller is no single-threaded process to the kernel. Think
 * times are exponential with mean THINK_NS, like those of the simulation. Prints `key value` lines, times in ns. A call
 * counts only if no other thread had lost its CPU to another process meanwhile: threads that do not run get no IPI.
 * Exit code 3: the kernel forbids the call; the reason is on stderr.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { QUERY = 0, PRIVATE_EXPEDITED = 1 << 3, REGISTER_PRIVATE_EXPEDITED = 1 << 4 }; /* linux/membarrier.h */
enum { MEMBARRIER, DONTNEED, MPROTECT, MUNMAP };
enum { MOST = 1 << 17, REGION = 8 << 20, ALIGN = 2 << 20, WARMUP = 32 };
static const char *const NAMES[] = {"membarrier", "dontneed", "mprotect", "munmap"};
static const int64_t AWAY_NS = 250;  /* a spinner's iteration takes a tenth of this; an interrupt more */
static const int64_t LOST_NS = 20000; /* longer than any of our interrupts: caused by the scheduler */

struct span {
    int64_t since, begin, end; /* of an iteration: begin of its think time, of its call, end */
};

struct thread {
    pthread_t id;
    int cpu, is_caller;
    uint64_t random;
    char *region;
    size_t count, losses;
    struct span *spans, *lost; /* calls of a caller, absences of a spinner; absences caused by the scheduler */
};

static int op;
static double think_mean_ns;
static size_t bytes, page;
static volatile int stop, go;

static int64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t now(void) { return read_clock(CLOCK_MONOTONIC); }

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(errno == EPERM || errno == ENOSYS || errno == EACCES || errno == EINVAL ? 3 : 1);
}

static double exponential(struct thread *t) {
    t->random ^= t->random << 13, t->random ^= t->random >> 7, t->random ^= t->random << 17; /* xorshift64 */
    return -log(((t->random >> 11) + 0.5) * 0x1p-53);
}

static void touch(char *at) {
    for (size_t byte = 0; byte < bytes; byte += page) *(volatile char *)(at + byte) = 1;
}

static void prepare(struct thread *t) {
    if (op == MEMBARRIER) return;
    if (op == MUNMAP &&
        mmap(t->region, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        fail("mmap");
    if (op == MUNMAP) madvise(t->region, bytes, MADV_NOHUGEPAGE);
    if (op == MPROTECT && mprotect(t->region, bytes, PROT_READ | PROT_WRITE)) fail("mprotect");
    touch(t->region);
}

static void call(struct thread *t) {
    switch (op) {
    case MEMBARRIER:
        if (syscall(SYS_membarrier, PRIVATE_EXPEDITED, 0, 0)) fail("membarrier");
        return;
    case DONTNEED:
        if (madvise(t->region, bytes, MADV_DONTNEED)) fail("madvise");
        return;
    case MPROTECT:
        if (mprotect(t->region, bytes, PROT_READ)) fail("mprotect");
        return;
    default:
        if (munmap(t->region, bytes)) fail("munmap");
    }
}

static void lose(struct thread *t, int64_t from, int64_t to) {
    if (t->losses < MOST) t->lost[t->losses++] = (struct span){from, from, to};
}

static void *callers(void *argument) {
    struct thread *t = argument;
    while (!go) sched_yield();
    int64_t cpu = read_clock(CLOCK_THREAD_CPUTIME_ID), since = now();
    lose(t, 0, since); /* calls that began earlier were alone */
    for (size_t k = 0; !stop && t->count < MOST; k++) {
        prepare(t);
        int64_t until = now() + (int64_t)(exponential(t) * think_mean_ns), begin;
        while ((begin = now()) < until) {
        }
        call(t);
        int64_t end = now(), used = -cpu;
        used += cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
        if (end - since - used > LOST_NS) lose(t, since, end);
        else if (k > WARMUP) t->spans[t->count++] = (struct span){since, begin, end};
        since = end;
    }
    lose(t, since, INT64_MAX);
    while (!stop) sched_yield(); /* the other threads continue their experiment */
    return NULL;
}

static void *spins(void *argument) {
    struct thread *t = argument;
    while (!go) sched_yield();
    int64_t before = now();
    lose(t, 0, before);
    while (!stop) {
        int64_t at = now();
        if (at - before > LOST_NS) lose(t, before, at);
        else if (at - before > AWAY_NS && t->count < MOST) t->spans[t->count++] = (struct span){before, before, at};
        before = at;
    }
    lose(t, before, INT64_MAX);
    return NULL;
}

static void *sleeps(void *argument) {
    (void)argument;
    for (;;) pause();
    return NULL;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Keeps the calls during which every other thread was on its CPU. Calls and absences are in order of time. */
static void keep(struct thread *threads, int all, struct thread *t) {
    size_t kept = 0, *next = calloc(all, sizeof *next);
    if (!next) fail("calloc");
    for (size_t n = 0; n < t->count; n++) {
        struct span it = t->spans[n];
        int clean = 1;
        for (int k = 0; clean && k < all; k++) {
            struct thread *other = &threads[k];
            if (other == t) continue;
            while (next[k] < other->losses && other->lost[next[k]].end < it.begin) next[k]++;
            clean = next[k] == other->losses || other->lost[next[k]].since > it.end;
        }
        if (clean) t->spans[kept++] = it;
    }
    t->count = kept;
    free(next);
}

static void summary(const char *name, struct thread *threads, int from, int to) {
    size_t count = 0;
    for (int k = from; k < to; k++) count += threads[k].count;
    int64_t *ns = malloc((count + 1) * sizeof *ns), sum = 0;
    if (!ns) fail("malloc");
    count = 0;
    for (int k = from; k < to; k++)
        for (size_t n = 0; n < threads[k].count; n++) ns[count++] = threads[k].spans[n].end - threads[k].spans[n].begin;
    qsort(ns, count, sizeof *ns, ascending);
    for (size_t k = 0; k < count; k++) sum += ns[k];
    printf("%s_count %zu\n", name, count);
    if (!count) return;
    printf("%s_p50_ns %lld\n%s_p99_ns %lld\n%s_mean_ns %.1f\n", name, (long long)ns[count / 2], name,
           (long long)ns[count * 99 / 100], name, (double)sum / count);
}

int main(int argc, char **argv) {
    if (argc < 9) {
        fprintf(stderr, "usage: measure OP CALLERS SPINNERS THINK_NS PAGES SECONDS SEED CPU...\n");
        return 2;
    }
    for (op = MEMBARRIER; op <= MUNMAP && strcmp(argv[1], NAMES[op]); op++) {
    }
    int nr_callers = atoi(argv[2]), all = nr_callers + atoi(argv[3]);
    think_mean_ns = atof(argv[4]);
    page = sysconf(_SC_PAGESIZE);
    bytes = atol(argv[5]) * page;
    double seconds = atof(argv[6]);
    if (op > MUNMAP || nr_callers < 1 || argc != 8 + all || bytes > REGION || (op != MEMBARRIER && !bytes)) {
        fprintf(stderr, "measure: OP, CALLERS, SPINNERS, PAGES and the CPUs contradict each other\n");
        return 2;
    }
    if (op == MEMBARRIER) {
        long known = syscall(SYS_membarrier, QUERY, 0, 0);
        if (known < 0) fail("membarrier");
        if (!(known & PRIVATE_EXPEDITED)) errno = ENOSYS, fail("membarrier PRIVATE_EXPEDITED");
        if (syscall(SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0)) fail("membarrier");
    }
    struct thread *threads = calloc(all, sizeof *threads);
    pthread_t sleeper;
    if (!threads || pthread_create(&sleeper, NULL, sleeps, NULL)) fail("pthread_create");
    for (int k = 0; k < all; k++) {
        struct thread *t = &threads[k];
        t->cpu = atoi(argv[8 + k]);
        t->is_caller = k < nr_callers;
        t->random = (strtoull(argv[7], NULL, 10) + 1) * 0x9E3779B97F4A7C15u + k * 0xD1B54A32D192ED03u;
        t->spans = malloc(MOST * sizeof *t->spans);
        t->lost = malloc(MOST * sizeof *t->lost);
        char *space = mmap(NULL, REGION + ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (!t->spans || !t->lost || space == MAP_FAILED) fail("mmap");
        memset(t->spans, 0, MOST * sizeof *t->spans); /* no page faults while measuring */
        t->region = (char *)(((uintptr_t)space + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1)); /* page tables of its own */
        madvise(t->region, REGION, MADV_NOHUGEPAGE);
        pthread_attr_t attributes;
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(t->cpu, &set);
        pthread_attr_init(&attributes);
        pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
        errno = pthread_create(&t->id, &attributes, t->is_caller ? callers : spins, t);
        if (errno) fail("pthread_create");
    }
    go = 1;
    struct timespec rest = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&rest, NULL);
    stop = 1;
    double per_s = 0.0, thought_ns = 0.0, calls = 0.0, made = 0.0;
    for (int k = 0; k < all; k++) pthread_join(threads[k].id, NULL);
    for (int k = 0; k < nr_callers; k++) {
        struct thread *t = &threads[k];
        made += t->count + t->losses;
        keep(threads, all, t);
        double busy_ns = 0.0;
        for (size_t n = 0; n < t->count; n++) {
            busy_ns += t->spans[n].end - t->spans[n].since;
            thought_ns += t->spans[n].begin - t->spans[n].since;
        }
        calls += t->count;
        if (t->count) per_s += t->count / (busy_ns * 1e-9);
    }
    summary("call", threads, 0, nr_callers);
    summary("away", threads, nr_callers, all);
    printf("calls_made %.0f\ncalls_per_s %.1f\nthink_ns %.1f\n", made, per_s, calls ? thought_ns / calls : 0.0);
    return 0;
}
