"""Counting and choosing in columns, against numpy's own ways."""

import numpy as np
import pytest

from benchmarks.distance import known
from sim import simulate
from sim.arrays import Flags, Least, Rank

SIZES = [(1, 1), (5, 7), (64, 8), (240, 3), (241, 9), (600, 20)]


def flags(rows: int, lanes: int) -> tuple[Flags, np.ndarray]:
    wanted = np.random.default_rng([rows, lanes]).random((rows, lanes)) < 0.4
    made = Flags.empty(rows, lanes)
    made.set[:] = wanted
    return made, wanted


@pytest.mark.parametrize(("rows", "lanes"), SIZES)
def test_the_least_of_equal_values_is_the_first_row(rows, lanes):
    values = np.random.default_rng([rows, lanes]).integers(0, max(2, rows // 8), (rows, lanes)).astype(float)
    row, value = Least(rows, lanes)(values)
    assert row.tolist() == values.argmin(axis=0).tolist()
    assert value.tolist() == values.min(axis=0).tolist()


def test_seen_as_unsigned_integers_negative_times_are_last():
    times = np.array([[-1e200, -1e200], [3.0, -1e200], [2.0, -1e200]])
    row, value = Least(3, 2)(times.view(np.uint64))
    assert row.tolist() == [2, 0]
    assert value.view(float).tolist() == [2.0, -1e200]


@pytest.mark.parametrize(("rows", "lanes"), SIZES)
def test_flags_are_counted_by_words_as_one_by_one(rows, lanes):
    made, wanted = flags(rows, lanes)
    assert Rank(rows, lanes)(made).tolist() == wanted.cumsum(axis=0).tolist()
    assert made.count().tolist() == wanted.sum(axis=0).tolist()
    row = np.arange(lanes) % rows
    made.clear(row)
    wanted[row, np.arange(lanes)] = False
    assert made.set.tolist() == wanted.tolist()


def test_numpys_buffer_is_the_callers_again_after_a_simulation():
    before = np.getbufsize()
    point = known("i5_3550") | {"cores": 4, "jobs": 4, "replicas": 300, "window_events": 64, "warmup_events": 0}
    simulate(policy="xpfo", precision=0.0, **point)  # all lanes stay to the end
    assert np.getbufsize() == before


@pytest.mark.parametrize("policy", ["xpfo", "xpfo_early_ack", "xpfo_coalesced", "membarrier", "xpfo_skip_idle"])
def test_blocks_of_receivers_do_not_show_in_a_result(monkeypatch, policy):
    point = known("xeon_8160") | {"cores": 24, "jobs": 17, "replicas": 3, "window_events": 192, "warmup_events": 64}
    whole = simulate(policy=policy, **point)
    monkeypatch.setattr("sim.machine.vectorized.broadcast.BLOCK", 1)
    blocks = simulate(policy=policy, **point)
    for name in whole:
        assert whole[name].tobytes() == blocks[name].tobytes(), name
