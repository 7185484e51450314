"""Lines that CPUs read before they write: what holds by reasoning, and a plain simulation with sets."""

import heapq
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import distance
from sim import PARAMETERS, batch_means, simulate
from sim.cache_lines import CLUSTER, CROSS, SAME, SIBLING, SOCKET, distances
from sim.counts import Weights
from sim.deferral import Rates, line_ns, pending_on_an_equal, read_and_clear_ns, switches_per_s
from sim.events import FlushEvents
from sim.machine.compiled.cache import has_compiler
from sim.machine.engines import build_machine
from sim.parameters import Kind
from sim.policies import Policies
from sim.policy import Check, Events, Line, Local, Mark, Policy, Write
from sim.reading import reads
from sim.topology import Shape
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir

TESTING = [name for name in Policies() if Policies()[name].reads_line]
ENGINES = ["vectorized", "compiled"]
COST = {
    "ceiling": 33.0, "alloc_bookkeeping_ns": 30.0, "kunmap_bookkeeping_ns": 350.0, "flush_fixed_ns": 100.0,
    "invlpg_ns": 215.0, "flush_all_ns": 420.0, "refill_ns": 1500.0, "user_refill_ns": 0.0, "line_socket_ns": 48.0,
    "line_cross_ns": 134.0, "line_hit_ns": 2.0, "line_burst": 1.0, "line_fill_ns": 25.0, "checks_per_s": 0.0,
    "think_ns": 2000.0,
}  # fmt: skip
MEAN = (5.0 + 40.0 + 2 * 100.0) / 4  # of a transfer between any two of four CPUs on two sockets
PAGES = {1: 0.9, 64: 0.1}


def source_of(policy, shape, cost, replicas=1):
    """Columns of the costs, and the flush events that the CPUs draw."""
    columns = {name: np.full(replicas, value) for name, value in cost.items()}
    alloc = np.array([np.full(replicas, share) for share in PAGES.values()])
    events = Events(np.full(replicas, 1.0), tuple(PAGES), alloc)
    flush = Policies()[policy]
    return columns, flush, FlushEvents(shape, columns, events, flush, np.arange(replicas))


def means(policy, shape, engine_name="compiled", warmup=256, window=2048, **changes):
    """Means per flush event of one lane."""
    columns, flush, source = source_of(policy, shape, COST | changes)
    machine = build_machine(engine_name, shape, columns, flush, source)
    zero = np.zeros(1)
    price = Weights(np.full(1, 1000.0), zero, zero, zero, zero)
    run = batch_means.run(machine, {"half_ns": price}, warmup, window, zero)
    return {name: float(values[0]) for name, values in run.items() if not name.startswith("window")}  # NaN


def shape_of(cores, sockets=1, busy=None, senders=None):
    busy = busy or cores
    return Shape(cores, sockets, busy, senders or busy, 1, "auto", 5)


def test_clusters_and_distances_are_those_of_the_cores_by_hand():
    """Two sockets of four cores with two threads each; two cores share a last-level cache."""
    shape = Shape(16, 2, 16, 16, 2, "auto", 0, cluster_cores=2)
    assert shape.cluster.tolist() == [0, 2, 1, 3, 0, 2, 1, 3] * 2  # jobs go round the sockets, then their clusters
    assert distances(shape)[0].tolist() == [
        SAME, CROSS, SOCKET, CROSS, CLUSTER, CROSS, SOCKET, CROSS,
        SIBLING, CROSS, SOCKET, CROSS, CLUSTER, CROSS, SOCKET, CROSS,
    ]  # fmt: skip
    filled = Shape(16, 2, 16, 16, 2, "auto", 0, fill="sockets", cluster_cores=2)
    assert filled.cluster.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 2
    assert distances(filled)[5].tolist() == [
        CROSS, CROSS, CROSS, CROSS, CLUSTER, SAME, SOCKET, SOCKET,
        CROSS, CROSS, CROSS, CROSS, CLUSTER, SIBLING, SOCKET, SOCKET,
    ]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("burst", [1, 2, 8])
def test_a_line_that_all_want_stays_in_a_cluster_for_a_burst_and_then_crosses(engine, burst):
    """Two sockets of a cluster each, whose CPUs all wait: of `burst` turns one takes the line from the other socket."""
    p = {name: each for name, each in distance.known("xeon_8160").items() if PARAMETERS[name].kind is not Kind.BUILD}
    p |= {"cores": 32, "sockets": 2, "threads_per_core": 1, "jobs": 32, "range_pages": {1: 1}, "line_burst": burst}
    p |= {"line_cluster_ns": 20.0, "line_socket_ns": 100.0, "line_cross_ns": 300.0, "cluster_cores": 16}
    p |= {"operation_ns": 100.0, "operation": "constant", "window_events": 1024, "engine": engine}
    found = simulate(policy="shared_word", **p)
    assert found["flush_interval_ns"] == pytest.approx((300.0 + (burst - 1) * 20.0) / burst, rel=0.01)


class Plain:
    """The same machine with a heap of visits, and for each line a set of clear notes and a set of copies."""

    def __init__(self, policy, shape, cost):
        self.shape, self.cost = shape, cost
        _, flush, self.source = source_of(policy, shape, cost)
        self.lines = shape.sockets if flush.mark.line is Line.NODE else 1
        self.clear = [set(range(line, shape.cores, self.lines)) for line in range(self.lines)]
        self.copies = [set() for _ in range(self.lines)]
        self.owner, self.free = [0] * self.lines, [0.0] * self.lines
        self.looks_used, self.visits, self.waits = [0] * shape.busy, [], []
        for k in range(shape.senders):
            self.compute(k, 0.0, 0.0)

    def compute(self, k, end, misses):
        compute, kind = (int(value[0]) if value.dtype.kind == "i" else float(value[0]) for value in self.draw(k))
        start = end + compute + misses
        work = float(self.source.bookkeeping_ns[kind, 0] + self.source.local_ns[kind, 0])
        lines = [(k + number) % self.lines for number in range(self.lines)]
        heapq.heappush(self.visits, (start + work, 1, k, start, kind, lines, False))

    def draw(self, k):
        return self.source.draw(np.array([k]))

    def access(self, k, at, line, writes):
        """When CPU k has read or written the line."""
        if not writes and k in self.copies[line]:
            return at + self.cost["line_hit_ns"]
        near = k % self.shape.sockets == self.owner[line] % self.shape.sockets
        transfer = self.cost["line_socket_ns" if near else "line_cross_ns"]
        transfer = self.cost["line_hit_ns"] if k == self.owner[line] else transfer
        grant = max(at, self.free[line])
        self.free[line] = grant + (transfer if writes else min(self.cost["line_fill_ns"], transfer))
        self.copies[line] = {k} if writes else self.copies[line] | {k}
        self.owner[line] = k if writes else self.owner[line]
        return grant + transfer

    def run(self, events):
        while len(self.waits) < events:
            at, visitor, k, start, kind, lines, writes = heapq.heappop(self.visits)
            (self.post if visitor else self.look)(at, k, start, kind, lines, writes)
        return self.waits

    def post(self, at, k, start, kind, lines, writes):
        line, others = lines[0], self.clear[lines[0]] - {k}
        end = self.access(k, at, line, writes)
        if writes:
            self.clear[line] -= others
            for each in sorted(others & set(range(self.shape.busy))):
                self.source.entry_draws.reserve(self.looks_used[each] + 1)
                gap = self.source.tables()[3][0, each, self.looks_used[each]] * (1e9 / self.cost["checks_per_s"])
                self.looks_used[each] += 1
                heapq.heappush(self.visits, (end + gap, 0, each, 0.0, 0, [line], False))
        elif others:
            heapq.heappush(self.visits, (end, 1, k, start, kind, lines, True))
            return
        if lines[1:]:
            heapq.heappush(self.visits, (end, 1, k, start, kind, lines[1:], False))
            return
        self.waits.append(end - start)
        self.compute(k, end, self.cost["refill_ns"] if self.source.full[kind, 0] else self.cost["user_refill_ns"])

    def look(self, at, k, start, kind, lines, writes):
        assert k not in self.clear[lines[0]]  # its note is set, or the look would not have been drawn
        end = self.access(k, at, lines[0], writes)
        if writes:
            self.clear[lines[0]].add(k)
        else:
            heapq.heappush(self.visits, (end, 0, k, start, kind, lines, True))


@pytest.mark.parametrize("policy", TESTING)
@pytest.mark.parametrize("cores", [(1, 1), (2, 1), (8, 2), (12, 4)])
def test_a_plain_simulation_with_sets_gives_the_same_waits(policy, cores):
    shape = shape_of(*cores, busy=max(1, cores[0] - 2), senders=max(1, cores[0] - 3))
    cost = COST | {"checks_per_s": 2e4, "think_ns": 900.0}
    by_hand = Plain(policy, shape, cost).run(500)
    for name in ENGINES:
        columns, flush, source = source_of(policy, shape, cost)
        machine = build_machine(name, shape, columns, flush, source)
        waits = np.empty((500, 1), order="F")
        machine.serve(waits, waits.copy())
        assert waits[:, 0].tolist() == by_hand


@pytest.mark.parametrize("policy", TESTING)
@pytest.mark.parametrize("name", ENGINES)
def test_nothing_is_written_and_nobody_waits_where_every_note_is_set(policy, name):
    """Nobody looks: after the first posts each flush event reads its own copies, however many CPUs there are."""
    shape, window = shape_of(32, sockets=4), 640
    found = means(policy, shape, name, window=window)
    assert found["line_writes"] == found["line_misses"] == found["line_clears"] == found["queue_ns"] == 0.0
    hits = 4 if policy == "xpfo_deferred_node" else 1
    local = {"alloc": (30.0 + 315.0, 30.0 + 420.0), "kunmap": 350.0 + 315.0}
    assert found["wait_p99_ns"] == pytest.approx(local["kunmap"] + hits * 2.0)
    dearer = means(policy, shape, name, window=window, line_hit_ns=12.0)
    assert dearer["wait_ns"] - found["wait_ns"] == pytest.approx(hits * 10.0, abs=2.0)  # other flush events


@pytest.mark.parametrize("policy", TESTING)
def test_a_line_that_nobody_else_touches_costs_a_hit(policy):
    for cores, sockets in ((1, 1), (8, 2)):  # of eight CPUs one is busy
        shape = shape_of(cores, sockets, busy=1)
        free = means(policy, shape, line_hit_ns=0.0, checks_per_s=1e3)
        found = means(policy, shape, checks_per_s=1e3)
        hits = sockets if policy == "xpfo_deferred_node" else 1
        assert found["wait_ns"] - free["wait_ns"] == pytest.approx(hits * 2.0)
        assert found["line_writes"] == found["line_misses"] == found["line_clears"] == 0.0


def test_one_socket_has_one_mask():
    found, node = (means(policy, shape_of(24), checks_per_s=5e3, think_ns=500.0) for policy in TESTING)
    np.testing.assert_equal(found, node)
    assert found["line_writes"] > 0.0


def test_a_clear_makes_the_others_read_again():
    """Two CPUs, clears far apart: each costs one write and as many misses as it took copies."""
    found = means("xpfo_deferred_test_first", shape_of(2), window=32768, checks_per_s=1000.0, think_ns=5000.0)
    assert found["line_clears"] > 0.0
    assert found["line_writes"] == pytest.approx(found["line_clears"], rel=0.05)
    # The CPU that cleared its note reads again what the other one wrote, and the other one what was cleared.
    assert found["line_misses"] == pytest.approx(2 * found["line_clears"], rel=0.05)


@pytest.mark.parametrize("looks", [300.0, 3000.0, 1e5])
def test_the_loop_clears_as_many_notes_as_the_slow_time_scale_says(looks):
    n, window = 8, 65536 if has_compiler() else 4096
    found = means("xpfo_deferred_test_first", shape_of(n), window=window, checks_per_s=looks, think_ns=20_000.0)
    posts = (n - 1) / n / found["interval_ns"] * 1e9
    rates = Rates(switches=0.0, switch_cv2=1.0, ticks=0.0, others=looks, marks=posts, own_full=0.0)
    expected = np.mean([pending_on_an_equal(rates, 1, replica).flushes_per_s for replica in range(20)])
    clears = found["line_clears"] / n / found["interval_ns"] * 1e9
    assert clears == pytest.approx(expected, rel=4.0 / np.sqrt(found["line_clears"] * window) + 0.03)


@pytest.mark.parametrize("policy", TESTING)
@pytest.mark.parametrize("looks", [0.0, 1e3, 1e5])
def test_littles_law_holds_for_the_line(policy, looks):
    """Of n CPUs all compute or are in a flush event: n = (think + misses + wait) / interval. No line is over-full."""
    n, cost = 16, {"checks_per_s": looks, "think_ns": 1000.0}
    found = means(policy, shape_of(n, 2), warmup=4096, window=32768 if has_compiler() else 4096, **cost)
    away_ns = cost["think_ns"] + found["refills"] * COST["refill_ns"]
    assert (away_ns + found["wait_ns"]) / found["interval_ns"] == pytest.approx(n, rel=0.02)
    writes = found["line_writes"] + found["line_clears"]
    least_ns = found["line_misses"] * COST["line_fill_ns"] + writes * COST["line_hit_ns"]
    lines = 2 if policy == "xpfo_deferred_node" else 1
    assert least_ns <= lines * found["interval_ns"]
    assert (least_ns > 0.0) == (looks > 0.0)


@pytest.mark.parametrize(
    ("policy", "senders", "misses", "writes", "queue_ns", "pending", "check_ns"),
    [
        ("xpfo_deferred_test_first", 4, 0.0, 0.0, 0.0, 0.0, 5.0),  # reads its valid copy
        ("xpfo_deferred_test_first", 4, 0.0, 0.0, 0.0, 1.0, 5.0 + MEAN),  # and clears its bit
        ("xpfo_deferred_test_first", 4, 1.0, 1.0, 60.0, 0.0, MEAN + 30.0),  # two accesses have waited 60 ns together
        ("xpfo_deferred_test_first", 4, 1.0, 0.5, 30.0, 1.0, 2 * (MEAN + 20.0)),
        ("xpfo_deferred_test_first", 4, 0.25, 0.25, 10.0, 0.0, 0.75 * 5.0 + 0.25 * (MEAN + 20.0)),
        ("xpfo_deferred_test_first", 2, 0.0, 0.0, 0.0, 0.0, 0.5 * 5.0 + 0.5 * MEAN),  # the other two have no copy
        ("xpfo_deferred_node", 4, 1.0, 0.0, 0.0, 0.0, 0.5 * 5.0 + 0.5 * MEAN),  # one of the two lines that are read
    ],
)
def test_a_check_costs_its_copy_or_a_transfer_and_another_one_to_clear(
    policy, senders, misses, writes, queue_ns, pending, check_ns
):
    """The line comes from the CPU itself, 5 ns, from its neighbour, 40 ns, or from one of two others, 100 ns."""
    lanes = {"line_hit_ns": 5.0, "line_socket_ns": 40.0, "line_cross_ns": 100.0}
    mean = {"line_misses": misses, "line_writes": writes, "queue_ns": queue_ns}
    lanes, mean, found = (
        {name: np.array([value]) for name, value in each.items()} for each in (lanes, mean, {"found_share": pending})
    )
    scenario = SimpleNamespace(policy=Policies()[policy], shape=shape_of(4, 2, senders=senders), lanes=lanes)
    assert read_and_clear_ns(scenario, mean, found) == pytest.approx(check_ns)


def test_an_odd_cpu_more_on_one_socket_has_its_owners_nearer():
    times = {"line_hit_ns": 40.0, "line_socket_ns": 40.0, "line_cross_ns": 100.0}
    lanes = {name: np.array([value]) for name, value in times.items()}
    assert line_ns(lanes, shape_of(4, 2, busy=3)) == pytest.approx((5 * 40.0 + 4 * 100.0) / 9)  # of nine pairs


@pytest.mark.parametrize(("jobs", "slices"), [(2, 0.0), (4, 0.0), (6, 125.0), (8, 250.0), (100, 250.0)])
def test_time_slices_end_as_often_as_cpus_are_shared(jobs, slices):
    lane = {"jobs": jobs, "cores": 4, "user_switches_per_s": 100.0, "timeslice_ms": 4.0}
    assert switches_per_s(lane) == 100.0 + slices


@pytest.mark.parametrize("policy", TESTING)
def test_test_first_is_sensible_beside_the_plain_mask(policy, parameters):
    p = parameters("xeon_8160", jobs=60, window_events=2048, replicas=2)
    plain, found = (simulate(policy=name, **p) for name in ("xpfo_deferred", policy))
    assert (found["flush_wait_ns"] < plain["flush_wait_ns"]).all()  # hardly anybody looks
    assert not found["lost_marks"].any()
    assert found["stale_window_ns"] == pytest.approx(plain["stale_window_ns"], rel=0.05)
    assert found["flush_wait_p50_ns"].mean() < plain["flush_wait_p50_ns"].mean()
    one = simulate(policy=policy, **p | {"cores": 1, "sockets": 1, "threads_per_core": 1, "jobs": 1})
    free = simulate(policy="xpfo_deferred_per_task", **p | {"cores": 1, "sockets": 1, "threads_per_core": 1, "jobs": 1})
    hit_ns = one["flush_wait_ns"] - free["flush_wait_ns"]
    assert hit_ns == pytest.approx(p["line_hit_ns"], abs=1e-6)
    assert not one["lost_marks"].any()


@pytest.mark.parametrize("policy", TESTING)
def test_a_fill_is_never_longer_than_the_transfer_that_it_is_part_of(policy):
    at_most, longer = (
        means(policy, shape_of(16, 2), checks_per_s=1e4, line_fill_ns=fill_ns) for fill_ns in (134.0, 1e6)
    )
    np.testing.assert_equal(at_most, longer)


def test_checks_at_kernel_entries_are_refused_there():
    for line in (Line.GLOBAL, Line.NODE):
        with pytest.raises(ValueError, match=r"kernel_entry: must be None with Write.TEST_FIRST"):
            Policy(local=Local.FIRST, mark=Mark(line, Write.TEST_FIRST), kernel_entry=Check(line))
    assert not Mark(Line.PER_CPU, Write.TEST_FIRST).reads_line  # flags cost one by one, as before


def test_only_these_policies_read_what_copies_cost_and_each_machine_knows_it():
    assert [policy for policy in TESTING if "line_fill_ns" in reads(Policies()[policy])] == TESTING
    assert "line_fill_ns" not in reads(Policies()["xpfo_deferred"])
    for machine in catalog([conf_dir()])["machine"].values():
        for name in ("line_hit_ns", "line_fill_ns"):
            assert machine.quantities[name].low < machine.quantities[name].central < machine.quantities[name].high
