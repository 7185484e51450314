"""Does a large sweep spend its time simulating, on all workers? `python -m benchmarks.large [--quick]`.

A sample of shortened chunks of `+grid=large` is computed and committed as in a run: the share of CPU time inside `sim`;
the speed-up of two Ray workers against that of two plain processes; and, with the sample's times for all chunks of the
plan, the share of worker time that is idle at the end.
"""

import heapq
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import numpy as np

from benchmarks import plans
from sweep.inputs.settings import Runner
from sweep.plan.plan import Plan
from sweep.run import compute as simulation
from sweep.run.ray import Cluster
from sweep.run.runner import serial
from sweep.store.folder import open_folder
from sweep.store.parts import part_bytes, part_name

TARGET_SHARE, TARGET_SCALING = 0.90, 0.95
LEAST_GAIN = 1.6  # of two plain processes over one: below, the machine is busy and scaling cannot be measured


def nothing_known(chunk: int) -> None:
    """No rows of an older run."""


def sample(quick: bool) -> tuple[Plan, list[int]]:
    """A plan with short chunks, and a sample of them over all estimated costs, most expensive first."""
    cores = [4, 16, 32] if quick else [4, 16, 64, 128]  # beyond, one chunk takes a minute
    plan = plans.large(chunk_s=0.1 if quick else 0.5, zip={"cores": cores, "sockets": [1] * len(cores)})
    cost = plan.chunk_cost_s()
    order = np.argsort(-cost, kind="stable")
    count = 6 if quick else 32
    return plan, [int(order[at]) for at in np.linspace(0, len(order) - 1, count).astype(int)]


def inside(plan: Plan, chunks: list[int]) -> tuple[float, dict[int, float]]:
    """Share of CPU time inside `sim.simulate` from plan to commit, and wall seconds by chunk."""
    simulate, spent, took = simulation.simulate, 0.0, {}

    def clocked(**parameters):
        nonlocal spent
        begun = time.process_time()
        try:
            return simulate(**parameters)
        finally:
            spent += time.process_time() - begun

    simulation.simulate = clocked
    try:
        with tempfile.TemporaryDirectory() as out:
            folder, begun = open_folder(out), time.process_time()
            for each in serial(plan, chunks, nothing_known):
                folder.write(part_name(each.chunk), each.part)
                took[each.chunk] = each.note["wall_s"]
            whole = time.process_time() - begun
    finally:
        simulation.simulate = simulate
    return spent / whole, took


def plain(plan: Plan, number: int) -> int:
    return simulation.compute(plan, range(int(plan.chunks[number]), int(plan.chunks[number + 1]))).num_rows


def best(carry: Callable[[], Iterable[object]], chunks: int) -> float:
    """Chunks a second, the best of two passes: other processes may use the machine."""
    took = []
    for _ in range(2):
        begun = time.perf_counter()
        list(carry())
        took.append(time.perf_counter() - begun)
    return chunks / min(took)


def by_processes(plan: Plan, chunks: list[int], workers: int) -> float:
    """Chunks a second of plain processes after a warm-up."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(plain, [plan] * workers, chunks[-workers:]))
        return best(lambda: pool.map(plain, [plan] * len(chunks), chunks), len(chunks))


def by_ray(plan: Plan, chunks: list[int], workers: int) -> float:
    """Chunks a second of a local Ray after a warm-up."""
    import ray

    settings = Runner(kind="ray", address="local")
    ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        list(Cluster(settings, sys.exit).carry(plan, chunks[-workers:], nothing_known, part_bytes))
        return best(lambda: Cluster(settings, sys.exit).carry(plan, chunks, nothing_known, part_bytes), len(chunks))
    finally:
        ray.shutdown()


def idle(seconds: np.ndarray, workers: int) -> float:
    """Share of worker time that is idle if the chunks are sent in this order, one by one."""
    free = [0.0] * workers
    for each in seconds:
        heapq.heappush(free, heapq.heappop(free) + each)
    return 1.0 - seconds.sum() / (workers * max(free))


@cache
def measure(quick: bool = False) -> dict[str, float]:
    plan, chunks = sample(quick)
    share, took = inside(plan, chunks)
    cost = plan.chunk_cost_s()
    middle, count = len(cost) // 2, 8 if quick else 24
    alike = np.argsort(-cost, kind="stable")[middle : middle + count].tolist()  # of similar length, so without a tail
    rates = {}
    for workers in (1, 2):  # in turn
        rates["plain", workers] = by_processes(plan, alike, workers)
        rates["ray", workers] = by_ray(plan, alike, workers)
    dear = [number for number in took if cost[number] >= np.median(cost[list(took)])]  # similar to long chunks
    over = np.array([took[number] / cost[number] for number in dear])
    whole = plans.large()
    planned = np.sort(whole.chunk_cost_s())[::-1]
    seconds = planned * np.random.default_rng(0).choice(over, len(planned))
    speedup = {side: rates[side, 2] / rates[side, 1] for side in ("plain", "ray")}
    return {
        "share inside sim": share,
        "two plain processes over one": speedup["plain"],
        "two Ray workers over one": speedup["ray"],
        "Ray's over the plain one's": speedup["ray"] / speedup["plain"],
        "idle at the end, 2 workers": idle(seconds, 2),
        "idle at the end, 64 workers": idle(seconds, 64),
    }


def ratios(quick: bool = True) -> dict[str, float]:
    """All ratios, each of two sides of one run; scaling only if it can be measured."""
    found = measure(quick)
    judged = found["two plain processes over one"] >= LEAST_GAIN
    return {name: ratio for name, ratio in found.items() if judged or " over " not in name}


def main() -> None:
    found = measure("--quick" in sys.argv)
    for name, ratio in found.items():
        print(f"{name:30} {ratio:7.3f}")
    share, scaling = found["share inside sim"], found["Ray's over the plain one's"]
    gain = found["two plain processes over one"]
    judged = "met" if scaling >= TARGET_SCALING else "missed"
    if gain < LEAST_GAIN:
        judged = f"not measured: two plain processes gain {gain:.2f}, so the machine is busy"
    print(
        f"\n{100 * share:.1f} % of the CPU time is simulation (target {100 * TARGET_SHARE:.0f} %, "
        f"{'met' if share >= TARGET_SHARE else 'missed'}), and two Ray workers gain {scaling:.2f} of what two plain "
        f"processes gain (target {TARGET_SCALING:g}, {judged})."
    )


if __name__ == "__main__":
    main()
