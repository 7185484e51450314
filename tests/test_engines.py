"""Two engines, each proved by the other bit by bit where they simulate the same: deferrals and hardware broadcasts."""

import importlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

from sim import METRICS, PARAMETERS, batch_means, draws, policies, simulate
from sim.counts import Weights
from sim.elementary import excess, exp_minus, log
from sim.events import FlushEvents
from sim.machine.compiled import cpus, jit, visits
from sim.machine.compiled.broadcast import serve_broadcast
from sim.machine.compiled.cache import cache_folder, has_compiler
from sim.machine.compiled.server import serve_server
from sim.machine.engines import build_machine
from sim.policies import Policies
from sim.policy import ALL_PAGES, Done, Events, Local, Policy, Run, Targets
from sim.topology import Shape
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir

MACHINES = catalog([conf_dir()])["machine"]
ONLINE, BUSY, RUNNING = Targets.OTHER_ONLINE, Targets.OTHER_BUSY, Targets.OTHER_RUNNING
POLICIES = {path.stem: Policies()[path.stem] for path in sorted(Path(policies.__path__[0]).glob("[a-z]*.py"))}
FLUSHES = {  # what no policy says alone
    "no_own": Policy(targets=BUSY, local=Local.NEVER),
    "own_before": Policy(targets=BUSY, local=Local.FIRST),
    "nothing_flushed": Policy(targets=BUSY, local=Local.NEVER, run=Run.NOTHING),
    "under_a_mutex": Policy(targets=BUSY, local=Local.NEVER, run=Run.NOTHING, mutex=True),
    "own_under_a_mutex": Policy(targets=ONLINE, local=Local.AFTER_ACKS, mutex=True),
    "no_wait_by_generation": Policy(targets=BUSY, local=Local.FIRST, done=Done.SENT, run=Run.CATCH_UP),
    "no_wait_under_a_mutex": Policy(targets=ONLINE, local=Local.NEVER, done=Done.SENT, run=Run.FIRST_FULLY, mutex=True),
    "running_by_generation": Policy(targets=RUNNING, local=Local.FIRST, run=Run.CATCH_UP),
    "running_at_once": Policy(targets=RUNNING, local=Local.AFTER_ACKS, done=Done.RUN_BEGUN, run=Run.FIRST_FULLY),
    "running_no_wait": Policy(targets=RUNNING, local=Local.AFTER_SENDS, done=Done.SENT),
    "running_under_a_mutex": Policy(targets=RUNNING, local=Local.NEVER, run=Run.NOTHING, mutex=True),
    "all_at_once": Policy(targets=BUSY, local=Local.AFTER_SENDS, done=Done.RUN_BEGUN, run=Run.FIRST_FULLY),
}
ALIKE = [name for name, policy in POLICIES.items() if not policy.targets.interrupts]
SETS = 25 if has_compiler() else 2  # of parameters, of each policy or set of words; plain Python is slow
WINDOW = 96


def configuration(rng):
    """A random machine and workload: 1 to 256 CPUs, 1 to 4 sockets, light load to saturation."""
    quantities = MACHINES[rng.choice(["xeon_8160", "i5_3550"])].quantities
    cost = {
        name: float(rng.uniform(q.low, q.high))
        for name, q in quantities.items()
        if q.low is not None and (name.endswith(("_ns", "_lines")) or name in ("smt_slowdown", "refill_system_share"))
    }
    cost |= {"line_cross_ns": float(rng.uniform(100, 300)), "line_burst": float(rng.integers(1, 12))}
    cost |= {"broadcast_ns": 600.0, "broadcast_page_ns": float(rng.uniform(0, 500)), "broadcast_all_ns": 1500.0}
    cost["ceiling"] = float(rng.choice([0, 1, 8, 33, 511, 600]))
    sockets = int(rng.integers(1, 5))
    cores = sockets * round(np.exp(rng.uniform(0, np.log(256 // sockets))))
    jobs = int(rng.choice([1, rng.integers(1, cores + 1), cores, 2 * cores]))
    busy = min(jobs, cores)
    senders = busy if rng.random() < 0.7 else int(rng.integers(1, busy + 1))
    apic = str(rng.choice(["auto", "cluster", "physical"] + ["flat"] * (cores <= 8)))
    threads = 2 if cores % 2 == 0 and rng.random() < 0.5 else 1
    delivery = str(rng.choice(["apic", "exit", "hypercall"], p=[0.6, 0.2, 0.2]))
    seed, clusters = int(rng.integers(1000)), int(rng.integers(1, 9)) if rng.random() < 0.5 else None
    shape = Shape(
        cores, sockets, busy, senders, threads, apic, seed, delivery=delivery, cluster_cores=clusters
    )  # fmt: skip
    guest = {"exit_ns": 3000.0, "deliver_ns": 400.0, "receive_exit_ns": 1500.0, "wake_ns": 20000.0}
    cost |= {name: float(rng.uniform(0, most)) * (rng.random() < 0.7) for name, most in guest.items()}
    cost["receive_exit_ns"] *= delivery != "apic"
    cost |= {"broadcast_repeats": 1.0 + cores % 2, "broadcast_per_waiter": 0.05 * (cores % 3)}
    preempted_share = float(rng.choice([0.0, 0.01, 0.3, 1.0], p=[0.6, 0.2, 0.1, 0.1]))
    cost |= {"preempted_share": preempted_share, "preempted_ns": float(10 ** rng.uniform(2, 6))}
    cost["kernel_entries_per_s"] = float(np.exp(rng.uniform(np.log(1e3), np.log(1e6))))
    cost["checks_per_s"] = cost["kernel_entries_per_s"] / 30.0
    pages = sorted(rng.choice([1, 2, 4, 8, 33, 34, 512], size=rng.integers(1, 5), replace=False).tolist())
    pages += [ALL_PAGES] if rng.random() < 0.2 else []
    alloc = [(int(p), float(rng.uniform(1e6, 2e8))) for p in pages]
    think_ns = float(np.exp(rng.uniform(np.log(200), np.log(1e7))))
    return shape, cost, think_ns, float(rng.choice([0.0, 1e8, 4e8])), alloc


def with_ties(rng, number, cost, think_ns, looking):
    """Some sets have times that are often equal: no compute, costs that are 0 or one of a few; some compute for 1 s."""
    names = [name for name in cost if name.endswith("_ns")]
    if number % 5 == 0:
        cost = cost | {name: 0.0 for name in names if rng.random() < 0.5}
    if number % 7 == 0:
        cost = cost | {name: 100.0 * float(rng.integers(0, 3)) for name in names}
    if number % 3 == 0:
        think_ns = 0.0
    elif number % 11 == 0:
        think_ns = 1e9
    return cost, min(think_ns, 2e5) if looking else think_ns  # looks are served one by one


def by_engine(engine, policy, shape, cost, think_ns, kunmap, alloc, precision):
    """Means of four lanes, which differ in replica and in the cost of a refill."""
    replicas, ones = np.array([0, 3, 1, 3]), np.ones(4)
    columns = {name: value * ones for name, value in cost.items()} | {"think_ns": think_ns * ones}
    columns["refill_ns"] = columns["refill_ns"] * np.linspace(1.0, 1.1, 4)
    events = Events(kunmap * ones, tuple(p for p, _ in alloc), np.array([count * ones for _, count in alloc]))
    source = FlushEvents(shape, columns, events, policy, replicas)
    machine = build_machine(engine, shape, columns, policy, source)
    times = {"half_ns": Weights(1000.0 * ones, ones, ones, ones, ones)}
    return batch_means.run(machine, times, 32, WINDOW, precision * ones)


@pytest.mark.parametrize("name", ALIKE)
def test_both_engines_give_the_same_bits(name):
    policy = POLICIES[name]
    one_by_one = policy.kernel_entry is not None or policy.reads_line  # checks are served one by one
    for number in range(SETS):
        rng = np.random.default_rng([number, *name.encode()])
        shape, cost, think_ns, kunmap, alloc = configuration(rng)
        cost, think_ns = with_ties(rng, number, cost, think_ns, one_by_one)
        lanes = (policy, shape, cost, think_ns, kunmap, alloc, 0.05 if number % 2 else 0.0)  # some leave early
        vectorized, compiled = (by_engine(each, *lanes) for each in ("vectorized", "compiled"))
        for metric, values in vectorized.items():
            assert values.tobytes() == compiled[metric].tobytes(), (number, metric, values, compiled[metric])


def test_a_call_gives_the_same_bits_by_either_engine(parameters):
    cores = [4, 96] if has_compiler() else [4, 8]
    points = parameters("epyc_milan_2s", jobs=60, cores=cores, replicas=3, window_events=96, precision=0.05)
    for name in ALIKE:
        if name == "vanilla" or (name == "xpfo_kernel_entry" and not has_compiler()):
            continue
        found = [simulate(policy=name, engine=each, **points) for each in ("vectorized", "compiled", "auto")]
        for metric in METRICS:
            assert len({each[metric].tobytes() for each in found}) == 1, (name, metric)


def test_a_lane_does_not_notice_its_neighbours(parameters):
    for engine in ("compiled", "vectorized"):
        p = parameters("i5_3550", jobs=4, think_ns=3000.0, precision=0.03, window_events=96) | {"engine": engine}
        ceilings = [0.0, 8.0, 33.0, 600.0]
        if not has_compiler():  # plain Python is slow
            p, ceilings = p | {"window_events": 32, "warmup_events": 8}, [0.0, 33.0]
        together = simulate(policy="xpfo", **p | {"ceiling": ceilings, "replicas": 2})
        for at, ceiling in enumerate(ceilings):
            alone = simulate(policy="xpfo", **p | {"ceiling": ceiling, "replicas": 2})
            for metric in METRICS:
                assert alone[metric][0].tobytes() == together[metric][at].tobytes(), (engine, metric)


@pytest.mark.parametrize("accounting", ["tick", "irq_time"])
@pytest.mark.parametrize("name", ["xpfo", "xpfo_concurrent", "xpfo_deferred_per_task"])
def test_system_time_is_the_models_formula_over_the_means_of_a_lane(name, accounting, parameters):
    p = parameters("i5_3550", jobs=4, accounting=accounting, range_pages={1: 3, 64: 1}, think_ns=3000.0)
    p |= {"window_events": 640, "warmup_events": 64, "replicas": 1}
    found = simulate(policy=name, engine="compiled", **p)
    cost = {key: np.array([float(value)]) for key, value in p.items() if isinstance(value, int | float)}
    alloc = np.array([[0.75 * p["alloc_events"]], [0.25 * p["alloc_events"]]])
    events = Events(np.array([p["kunmap_events"]]), (1, 64), alloc)
    shape, policy, zero = Shape(4, 1, 4, 4, 1, "auto", 0), POLICIES[name], np.zeros(1)
    source = FlushEvents(shape, cost, events, policy, np.array([0]))
    machine = build_machine("compiled", shape, cost, policy, source)
    means = batch_means.run(machine, {"half_ns": Weights(zero, zero, zero, zero, zero)}, 64, 640, zero)
    lane = {key: float(values[0]) for key, values in means.items()}
    total = p["kunmap_events"] + p["alloc_events"]
    system_ns = lane["wait_ns"] + p["refill_system_share"] * p["refill_ns"] * lane["refills"]
    if accounting == "tick":
        system_ns += lane["handler_compute_ns"] * p["base_system_s"] / (p["user_s"] + p["base_system_s"])
    else:
        system_ns -= lane["handler_ns"] - lane["handler_compute_ns"]
    system_s = p["base_system_s"] + total * system_ns * 1e-9
    noticed = (
        found["switch_s"]
        + found["refill_s"]
        - total * p["refill_system_share"] * p["refill_ns"] * (lane["refills"] * 1e-9)
    )  # where tasks migrate, on the slow scale
    assert found["system_time_s"] - noticed == pytest.approx(system_s, rel=1e-9)
    assert (noticed > 1e-6).all() == (name == "xpfo_deferred_per_task")
    elapsed = (p["user_s"] + p["base_system_s"]) * (p["serial_share"] + (1 - p["serial_share"]) / 4)
    assert found["wall_time_s"] == pytest.approx(elapsed * found["elongation"], rel=1e-9)
    assert found["elongation"] == pytest.approx(4 * lane["interval_ns"] / 3000.0, rel=0.1)  # with the noise of compute
    if name != "xpfo_deferred_per_task":
        misses_ns = lane["refills"] * p["refill_ns"] + lane["range_misses"] * p["user_refill_ns"]
        overhead_ns = lane["wait_ns"] + lane["handler_compute_ns"] + misses_ns
        assert found["elongation"] == pytest.approx(1 + overhead_ns / 3000.0, rel=1e-9)
    assert found["flush_wait_p99_ns"] == pytest.approx(lane["wait_p99_ns"], rel=1e-9)


def test_numpys_approximation_says_what_it_does_not_model(parameters):
    p = parameters("i5_3550", jobs=2, window_events=32, flush_mm_ns=90.0)
    with pytest.raises(ValueError, match="engine='fast': must be one of auto, compiled, vectorized"):
        simulate(policy="xpfo", engine="fast", **p)
    for policy, more, what in (
        ("mm_shootdown_concurrent", {}, r"Run\.CATCH_UP"), ("smp_call_function_many", {}, r"Run\.NOTHING"),
        ("xpfo_no_wait", {}, "a sender that does not wait"), ("xpfo", {"delivery": "exit"}, "delivery=exit"),
        ("xpfo", {"preempted_share": 0.1, "preempted_ns": 1e4}, "preempted_share above 0"),
        ("xpfo", {"fill": "sockets"}, "fill=sockets"),
        ("xpfo", {"cores": 6, "sockets": 2, "threads_per_core": 2}, "sockets of unequal size"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"engine=vectorized: does not model {what}; give engine=compiled"):
            simulate(policy=policy, engine="vectorized", **p | more)


COMPILES = """
from sim import simulate
from benchmarks.distance import known
simulate(policy="xpfo", **known("i5_3550") | {"jobs": 4, "window_events": 64})
from sim.machine.compiled.broadcast import serve_broadcast
print(sum(serve_broadcast.stats.cache_misses.values()), sum(serve_broadcast.stats.cache_hits.values()))
"""


@pytest.mark.skipif(not has_compiler(), reason="numba is not installed")
def test_the_processes_of_a_machine_compile_a_loop_once(tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", COMPILES], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = sorted(process.communicate(timeout=120)[0].split() for process in started)
    assert said == [["0", "1"], ["0", "1"], ["1", "0"]]  # misses and hits of the cache
    (folder,) = (tmp_path / "xpfo-sweep").iterdir()
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not has_compiler(), reason="numba is not installed")
@pytest.mark.long
def test_where_nothing_can_be_kept_each_process_compiles_for_itself(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / f"xpfo-sweep-{os.geteuid()}").write_text("")
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "shared")}
    done = subprocess.run(
        [sys.executable, "-c", COMPILES], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["1", "0"], done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "shared"]


def test_code_is_never_loaded_from_where_others_can_write(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    cache_folder.cache_clear()
    folder = cache_folder()
    assert folder is not None
    assert {each.stat().st_mode & 0o777 for each in (folder, folder.parent)} == {0o700}
    folder.chmod(0o770)
    cache_folder.cache_clear()
    assert cache_folder() is None
    folder.parent.chmod(0o770)
    cache_folder.cache_clear()
    elsewhere = cache_folder()
    assert elsewhere is not None
    assert elsewhere.parent.parent == tmp_path / "tmp"
    monkeypatch.undo()
    cache_folder.cache_clear()


DAMAGE = """
from benchmarks.distance import known
from sim import simulate
given = known("i5_3550") | {"jobs": 4, "window_events": 64}
print(repr(simulate(policy="xpfo_deferred", **given)["system_time_s"].tolist()))
"""


@pytest.mark.skipif(not has_compiler(), reason="numba is not installed")
def test_damaged_machine_code_is_compiled_again_and_changes_no_number(tmp_path):
    def run():
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
        command = [sys.executable, "-c", DAMAGE]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    right = run()
    random = np.random.default_rng(1)
    code = sorted(tmp_path.rglob("*.nbc"))
    assert code
    for turn in range(3):
        for path in code:
            content = bytearray(path.read_bytes())
            if turn == 0:
                content = content[: len(content) // 2]
            else:
                content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
            path.write_bytes(content)
        assert run() == right


@pytest.mark.skipif(not has_compiler(), reason="numba is not installed")
def test_where_files_cannot_be_locked_code_is_compiled_without(tmp_path, monkeypatch):
    def no_lock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(jit.fcntl, "flock", no_lock)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder.cache_clear()
    try:
        with jit._alone():
            assert cache_folder() is not None
    finally:
        monkeypatch.undo()
        cache_folder.cache_clear()


@pytest.mark.parametrize("cores", [2, 8])
def test_any_number_of_threads_draws_the_same(cores):
    def drawn(seed):
        return draws.Draws(seed, np.arange(3), cores, (draws.COMPUTE, draws.KIND)).tables

    right = {seed: drawn(seed) for seed in range(4)}
    draws._drawn.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(drawn, [0, 1, 2, 3] * 4))
    for seed, tables in zip([0, 1, 2, 3] * 4, found, strict=True):
        assert all((a == b).all() for a, b in zip(tables, right[seed], strict=True))


def test_exponentials_and_logarithms_are_right_to_a_few_ulps():
    random = np.random.default_rng(2)
    x = np.concatenate(
        [random.exponential(1.0, 200), random.exponential(100.0, 200), 10.0 ** random.uniform(-12, 0, 200)]
    )
    with localcontext() as context:
        context.prec = 60
        exact = [(-Decimal(each)).exp() for each in x.tolist()]
        over = [Decimal(each) + small - 1 for each, small in zip(x.tolist(), exact, strict=True)]
    assert exp_minus(x) == pytest.approx([float(each) for each in exact], rel=4e-16, abs=0)
    assert excess(x) == pytest.approx([float(each) for each in over], rel=4e-15, abs=0)
    assert exp_minus(0.25) == exp_minus(np.array([0.25]))[0]
    assert log(2.0) == np.log(2.0)
    assert exp_minus(1e6) == 0.0


def test_no_field_of_a_record_is_hidden_by_a_method_of_numpys():
    """Plain Python would read the method where machine code reads the field."""
    names = ("lane", "cpus", "queues", "visits")
    found = [vars(importlib.import_module(f"sim.machine.compiled.{name}")).values() for name in names]
    fields = {
        field for values in found for value in values if isinstance(value, np.dtype) for field in value.names or ()
    }
    assert fields > {"to_take", "phase"}
    assert not {field for field in fields if hasattr(np.record, field)}


@pytest.mark.skipif(not has_compiler(), reason="numba is not installed")
def test_a_loop_is_compiled_for_one_type_of_each_argument():
    """A second type would compile the loop again, and the digest of its code would no longer be true."""
    for name, policy in POLICIES.items():
        for number in range(4):
            shape, cost, think_ns, kunmap, alloc = configuration(np.random.default_rng([number, *name.encode()]))
            cost |= {"preempted_share": 0.0, "kernel_share": 0.3} if policy.targets.looks_for_user_mode else {}
            by_engine("compiled", policy, shape, cost, think_ns, kunmap, alloc, 0.0)
    assert len(serve_broadcast.signatures) == len(serve_server.signatures) == 1


def test_every_cost_of_a_compiled_loop_is_a_parameter():
    """A field with another name would be read as a cost that the policy does not read."""
    fields = {*cpus.Cost._fields, *visits.Cost._fields} - {"leave_guest", "leave"}  # which the machine gives
    assert len(fields) > 20
    assert [name for name in fields if not {name, f"{name}_ns"} & set(PARAMETERS)] == []
