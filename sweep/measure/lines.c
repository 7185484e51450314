/* Times of one cache line from CPU to CPU.
 *
 * lines pairs MS A B [A B ...]   two pinned threads take the line in turn by compare-exchange; prints `A B ns` for each
 *                                pair: the median one-way time; no line if the two never ran at once
 * lines KIND MS CPU...           a pinned thread on every CPU writes the same word; prints ns per write of all CPUs:
 *                                `plain` adds without a lock, `atomic` adds with one, `test_first` sets its own bit
 *                                atomically if a read finds it clear
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURNS = 32, MOST = 1 << 16, MOST_CPUS = 4096 }; /* round trips between two readings of the clock; readings */
enum { PLAIN, ATOMIC, TEST_FIRST };
static const char *const KINDS[] = {"plain", "atomic", "test_first"};

static struct {
    _Alignas(256) volatile uint64_t word;
} line;
_Alignas(256) static volatile int stop;
static int64_t times[MOST];
static int kind, readings;
static uint64_t writes[MOST_CPUS];

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int take(uint64_t from, uint64_t to) {
    while (!__sync_bool_compare_and_swap(&line.word, from, to))
        if (stop) return 0;
    return 1;
}

static void *answers(void *argument) {
    (void)argument;
    while (take(1, 0)) {
    }
    return NULL;
}

static void *asks(void *argument) {
    (void)argument;
    int64_t before = now(), after;
    for (readings = 0; readings < MOST; before = after) {
        for (int turn = 0; turn < TURNS; turn++)
            if (!take(0, 1)) return NULL;
        times[readings++] = (after = now()) - before;
    }
    return NULL;
}

static void *contends(void *argument) {
    uint64_t count = 0, own = 1ULL << ((uintptr_t)argument % 64);
    for (; !stop; count++) {
        if (kind == PLAIN) line.word += 1;
        else if (kind == ATOMIC) __sync_fetch_and_add(&line.word, 1);
        else if (!(line.word & own)) __sync_fetch_and_or(&line.word, own);
    }
    writes[(uintptr_t)argument] = count;
    return NULL;
}

static pthread_t start(void *(*run)(void *), uintptr_t argument, int cpu) {
    pthread_t id;
    pthread_attr_t attributes;
    static cpu_set_t set[MOST_CPUS / CPU_SETSIZE];
    memset(set, 0, sizeof set);
    CPU_SET_S(cpu, sizeof set, set);
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof set, set);
    errno = pthread_create(&id, &attributes, run, (void *)argument);
    if (errno) fprintf(stderr, "CPU %d: %s\n", cpu, strerror(errno)), exit(1);
    return id;
}

static void rest(double ms) {
    struct timespec t = {(time_t)(ms / 1000), (long)(ms * 1e6) % 1000000000L};
    nanosleep(&t, NULL);
    stop = 1;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int pairs = argc > 3 && !strcmp(argv[1], "pairs"), cpus = argc - 3;
    for (kind = PLAIN; argc > 3 && !pairs && kind <= TEST_FIRST && strcmp(argv[1], KINDS[kind]); kind++) {
    }
    if (cpus < 1 || cpus > 2 * MOST_CPUS * 8 || kind > TEST_FIRST || (pairs && cpus % 2) || (!pairs && cpus > MOST_CPUS)) {
        fprintf(stderr, "usage: lines pairs MS A B [A B ...] | lines plain|atomic|test_first MS CPU...\n");
        return 2;
    }
    double ms = atof(argv[2]);
    char **cpu = argv + 3;
    for (int k = 0; pairs && k < cpus; k += 2) {
        line.word = 0, stop = 0;
        pthread_t other = start(answers, 0, atoi(cpu[k + 1])), one = start(asks, 0, atoi(cpu[k]));
        rest(ms);
        pthread_join(one, NULL), pthread_join(other, NULL);
        qsort(times, readings, sizeof *times, ascending);
        if (readings) printf("%s %s %.2f\n", cpu[k], cpu[k + 1], times[readings / 2] / (2.0 * TURNS));
    }
    if (pairs) return 0;
    pthread_t *ids = calloc(cpus, sizeof *ids);
    if (!ids) return 1;
    int64_t begin = now();
    for (int k = 0; k < cpus; k++) ids[k] = start(contends, k, atoi(cpu[k]));
    rest(ms);
    double elapsed = now() - begin, all = 0;
    for (int k = 0; k < cpus; k++) pthread_join(ids[k], NULL), all += writes[k];
    printf("%.3f\n", elapsed / (all > 0 ? all : 1));
    return 0;
}
