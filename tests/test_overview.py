"""The answer to a wide sweep, and the sentence about which machines its numbers are of."""

import numpy as np
import pandas as pd
import pytest

from sweep.tables.answer import answer
from sweep.tables.overview import overview
from sweep.tables.setting import sizes


def rows(**columns):
    """Rows of results, a point each, with what coordinates need."""
    frame = pd.DataFrame({"replica": 0, "draw": 0, "machine": "xeon_8160", "workload": "kernel_build", **columns})
    frame["point"] = np.arange(len(frame))
    frame.attrs["coordinates"] = {"names": ["policy", "cores"], "follows": {}, "relative": {}}
    return frame


@pytest.fixture
def results():
    policies = ["vanilla", "xpfo", "xpfo_deferred", "xpfo_unmapped_pool", "xpfo_no_flush"]
    return rows(
        policy=[name for name in policies for _ in range(2)], cores=[4.0, 128.0] * 5, jobs=[4.0, 128.0] * 5,
        ratio=[1, 1, 2.5, 90, 1.3, 1.6, 1.1, 1.2, 1.05, 1.04],
        stale_window_p99_ns=[np.nan, np.nan, 1e4, 2e5, 3e6, 7e7, 1e4, 4e4, np.inf, np.inf],
    )  # fmt: skip


def test_each_policy_has_its_ratio_at_one_setting_and_the_worst_of_all(results):
    table = overview(results).set_index("policy")
    assert list(table.index) == ["xpfo_no_flush", "xpfo_unmapped_pool", "xpfo_deferred", "xpfo"]
    assert table["ratio"].tolist() == [1.04, 1.2, 1.6, 90]
    assert table["largest_ratio"].tolist() == [1.05, 1.2, 1.6, 90]
    assert table.loc["xpfo_no_flush", "largest_at"] == "4 CPUs, -j4"
    assert table.loc["xpfo", "largest_at"] == "128 CPUs, -j128"


def test_the_sentences_name_the_cheapest_the_safe_and_the_worst(results):
    said = answer({"overview": overview(results)}, ["xeon_8160"], "overview").sentences
    assert said[0].endswith("relative to the system time without XPFO: xpfo_deferred 1.60x* and xpfo 90x*.")
    assert "xpfo_deferred, 1.60x*, with a p99 stale window of 70 ms" in said[1]
    assert "among those that presuppose something, xpfo_unmapped_pool, 1.20x*" in said[1]
    safe = "xpfo_no_flush, xpfo_unmapped_pool and xpfo_deferred"
    assert said[2] == f"3 of 4 policies stay below 2x in all settings: {safe}."
    assert said[3].startswith("The worst case is xpfo with 90x")
    assert "128 CPUs" in said[3]


def shaped(machine, cores, sockets, cluster=np.nan):
    return pd.DataFrame({
        "machine": machine, "cores": cores, "sockets": sockets, "threads_per_core": 2.0, "cluster_cores": cluster
    })  # fmt: skip


def test_sockets_and_clusters_are_said_and_what_the_machine_itself_has():
    assert sizes(shaped("xeon_8160", [96.0], [2.0])) == ["xeon_8160: 96 CPUs on 2 sockets."]
    [kept] = sizes(shaped("xeon_8160", [512.0], [2.0]))
    assert kept == "xeon_8160: 512 CPUs on 2 sockets (the machine itself has 96 on 2; sockets= gives more)."
    [grid] = sizes(shaped("xeon_8160", [4.0, 32.0, 512.0], [1.0, 1.0, 8.0], 12.0))
    assert grid == (
        "xeon_8160: 4 to 32 CPUs on 1 socket and 512 CPUs on 8 sockets, in clusters of 12 cores "
        "(the machine itself has 96 on 2)."
    )
    assert sizes(shaped("mine", [8.0], [1.0])) == ["mine: 8 CPUs on 1 socket."]


def test_a_point_and_a_grid_of_one_size_do_not_disagree_in_silence(sweep_in):
    point = sweep_in("+grid=point", "policy=xpfo_deferred", "cores=256", "jobs=1", "window_events=64", "replicas=1")
    grid = sweep_in(
        "+grid=cores", "machine=xeon_8160", "policy=xpfo_deferred", "cores=256", "jobs=1", "window_events=64",
        "replicas=1",
    )  # fmt: skip
    assert "256 CPUs on 2 sockets (the machine itself has 96 on 2" in (point / "tables" / "answer.txt").read_text()
    assert "256 CPUs on 4 sockets" in (grid / "tables" / "answer.txt").read_text()


def test_a_wide_sweep_under_draws_has_its_answer_with_bands(tmp_path, sweep_in):
    (tmp_path / "grid").mkdir()
    grid = "# Wide?\nanswer: overview\npolicy: [vanilla, xpfo, xpfo_deferred]\nmachine: i5_3550\njobs: [1, 4]\n"
    (tmp_path / "grid" / "wide.yaml").write_text(grid)
    run = sweep_in("--config-dir", str(tmp_path), "+grid=wide", "draws=4", "window_events=64", "replicas=1")
    said = (run / "tables" / "answer.txt").read_text().splitlines()
    table = pd.read_csv(run / "tables" / "overview.csv").set_index("policy")
    assert said[0].startswith("i5_3550, 4 CPUs, -j4 (1 of 2 settings), relative to")
    low, high = (table.loc["xpfo", f"ratio_{end}"] for end in ("05", "95"))
    assert low < high
    assert f"({low:.2f}-{high:.2f})" in said[0]
