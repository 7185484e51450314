"""Tables from results: computed by hand on made-up ones."""

import numpy as np
import pandas as pd
import pytest

from sim import METRICS
from sweep.__main__ import main
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables import replicas
from sweep.tables.best_ceiling import best_ceiling
from sweep.tables.crossover import PASSED, crossover
from sweep.tables.pareto import on_front, pareto
from sweep.tables.text import breakdown


def results(rows, follows=(), relative=("jobs",)):
    """Results with the given columns, everything else constant; one replica; `jobs` are shares of `cores`.

    They are of builds, unless the rows say operations a second.
    """
    base = dict.fromkeys(PARAMETER_COLUMNS, 1.0) | dict.fromkeys(METRICS, 1.0) | {"operations_per_s": np.nan}
    base |= {"replica": 0, "policy": "xpfo", "machine": "m", "workload": "w"}
    frame = pd.DataFrame([base | {"point": at} | row for at, row in enumerate(rows)])
    names = [name for name in (*PARAMETER_COLUMNS, "policy") if frame[name].nunique() > 1]
    frame.attrs["coordinates"] = {
        "names": names, "follows": dict.fromkeys(follows, "cores"), "relative": dict.fromkeys(relative, "cores"),
    }  # fmt: skip
    return frame


def test_crossover_interpolates_on_log_axes_and_says_never():
    cores = [1, 10, 100]
    table = crossover(results([{"cores": c, "jobs": c, "ratio": c**0.5} for c in cores]))
    assert set(table["metric"]) == {"ratio"}
    by_ratio = table.set_index("passes")
    assert by_ratio.loc[2.0, "cores"] == pytest.approx(4.0)
    assert by_ratio.loc[10.0, "cores"] == pytest.approx(100.0)
    flat = crossover(results([{"cores": c, "jobs": c, "ratio": 1.05} for c in cores]))
    assert flat["cores"].isna().all()
    assert set(flat["said"]) == {"never up to 100"}


def test_a_crossing_is_said_with_where_it_is_and_the_most_that_is_reached():
    cores = [4, 16, 64]
    table = crossover(results([{"cores": c, "jobs": c, "ratio": c / 10} for c in cores])).set_index("passes")
    assert table["said"].to_dict() == {1.1: "at 11", 1.5: "at 15", 2.0: "at 20", 10.0: "never up to 64"}
    assert table["cores"].tolist()[:3] == pytest.approx([11.0, 15.0, 20.0])
    assert set(table["largest"]) == {6.4}
    fewest = crossover(results([{"cores": c, "jobs": c, "ratio": c / 4} for c in (8, 16)])).set_index("passes")
    assert fewest.loc[2.0, ["cores", "said"]].tolist() == [8.0, "already at 8"]


def test_a_loop_crosses_shares_of_time_and_not_ratios():
    cores = [1, 10, 100]
    loop = {"operations_per_s": 1.0, "system_time_s": np.nan, "ratio": np.nan}
    rows = [loop | {"cores": c, "jobs": c, "overhead_share": c / 1e3, "sender_overhead_share": c / 1e2} for c in cores]
    table = crossover(results(rows)).set_index(["metric", "passes"])["cores"]
    assert set(table.index.get_level_values("metric")) == {"overhead_share", "sender_overhead_share"}
    assert table["overhead_share", 0.1] == pytest.approx(100.0)
    assert table["sender_overhead_share", 0.1] == pytest.approx(10.0)
    assert np.isnan(table["overhead_share", 0.5])


def test_builds_beside_loops_cross_what_is_theirs():
    builds = [{"cores": c, "jobs": c, "ratio": c**0.5, "overhead_share": 0.2, "workload": "build"} for c in (1, 10)]
    loops = [{"cores": c, "jobs": c, "ratio": np.nan, "operations_per_s": 1.0, "workload": "loop"} for c in (1, 10)]
    table = crossover(results(builds + loops)).groupby("workload")["metric"].unique()
    assert list(table["build"]) == ["ratio"]
    assert list(table["loop"]) == ["overhead_share", "sender_overhead_share"]


def test_best_ceiling_is_a_flat_stretch_not_an_argmin():
    cost = {0: 200.0, 8: 100.6, 33: 100.0, 128: 100.9, 512: 130.0}
    table = best_ceiling(results([{"ceiling": c, "system_time_s": s} for c, s in cost.items()]))
    row = table.iloc[0]
    assert (row["best_from"], row["best_to"]) == (8, 128)
    assert row["price_of_33_s"] == 0.0
    assert row["worst_system_time_s"] == 200.0


def test_the_price_of_linuxs_ceiling_is_over_the_cheapest_in_seconds_and_percent():
    cost = {0: 120.0, 8: 80.0, 33: 100.0, 512: 90.0}
    row = best_ceiling(results([{"ceiling": c, "system_time_s": s} for c, s in cost.items()])).iloc[0]
    assert (row["best_from"], row["best_to"], row["best_system_time_s"]) == (8, 8, 80.0)
    assert (row["price_of_33_s"], row["price_of_33_pct"]) == (20.0, 25.0)
    other = best_ceiling(results([{"ceiling": c, "system_time_s": s} for c, s in ((0, 2.0), (512, 1.0))])).iloc[0]
    assert np.isnan([other["price_of_33_s"], other["price_of_33_pct"]]).all()


def test_pareto_keeps_what_nothing_dominates():
    points = {"a": (1.0, 100.0), "b": (2.0, 10.0), "c": (2.5, 50.0), "d": (9.0, np.inf)}
    table = pareto(results([{"policy": p, "ratio": r, "stale_window_p99_ns": w} for p, (r, w) in points.items()]))
    assert table.set_index("policy")["front"].to_dict() == {"a": True, "b": True, "c": False}


def test_a_loop_has_a_front_of_the_time_lost_and_one_of_the_operation():
    points = {"a": (0.1, 9.0, 100.0), "b": (0.2, 3.0, 10.0), "c": (0.15, 2.0, 50.0)}  # CPU time, elongation, window
    names = ("overhead_ns_per_operation", "elongation", "stale_window_p99_ns")
    loop = {"operations_per_s": 1.0, "system_time_s": np.nan, "ratio": np.nan}
    table = pareto(
        results([loop | {"policy": p} | dict(zip(names, each, strict=True)) for p, each in points.items()])
    ).set_index("policy")
    assert table["front"].to_dict() == {"a": True, "b": True, "c": True}
    assert table["elongation_front"].to_dict() == {"a": False, "b": True, "c": True}
    assert not {"ratio", "system_time_s"} & set(table.columns)


def test_a_policy_without_an_elongation_is_on_no_front_of_it():
    points = {"a": (0.9, np.nan, 1.0), "b": (0.2, 3.0, 10.0), "c": (0.3, 2.0, 50.0)}  # CPU time, elongation, window
    names = ("overhead_ns_per_operation", "elongation", "stale_window_p99_ns")
    loop = {"operations_per_s": 1.0, "system_time_s": np.nan, "ratio": np.nan}
    table = pareto(
        results([loop | {"policy": p} | dict(zip(names, each, strict=True)) for p, each in points.items()])
    ).set_index("policy")
    assert table["elongation_front"].to_dict() == {"a": False, "b": True, "c": True}
    assert table["front"].to_dict() == {"a": True, "b": True, "c": False}


def test_scaling_follows_cores_and_jobs_per_core():
    rows = [{"cores": c, "jobs": s * c, "sockets": c // 4, "ratio": c} for c in (8, 4) for s in (1, 0.5)]
    table = replicas.scaling(results(rows, follows=["sockets"]))
    assert table["cores"].tolist() == [4, 8, 4, 8]
    assert table["jobs_per_core"].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert "sockets" not in table.columns


def test_scaling_tells_apart_what_the_plan_tells_apart():
    rows = [{"cores": c, "jobs": c, "sockets": s, "ratio": c * s} for s in (1, 2) for c in (4, 8)]
    table = replicas.scaling(results(rows))
    assert table["sockets"].tolist() == [1, 1, 2, 2]
    assert len(crossover(results(rows))) == 2 * len(PASSED["ratio"])


def test_jobs_that_are_no_shares_of_cores_are_shown_as_they_are():
    rows = [{"cores": c, "jobs": j, "ratio": c} for j in (4, 8) for c in (4, 8)]
    assert replicas.scaling(results(rows, relative=()))["jobs"].tolist() == [4, 4, 8, 8]


def test_the_front_is_what_a_comparison_of_all_pairs_finds():
    random = np.random.default_rng(3)
    for size in (1, 2, 5, 60):
        x, y = random.integers(0, 6, (2, size)).astype(float)  # with ties and equal points
        no_worse = (x[:, None] <= x) & (y[:, None] <= y)
        better = (x[:, None] < x) | (y[:, None] < y)
        assert on_front(x, y).tolist() == (~(no_worse & better).any(axis=0)).tolist()


def test_a_point_is_shown_as_a_sum_with_the_spread_of_what_is_not_exact():
    def line(name, *draws):
        """The line of a metric where two replicas are 100 and 110 under the draw that is shown."""
        rows = [{"draw": 0, "replica": at, name: value} for at, value in enumerate((100.0, 110.0))]
        rows += [{"draw": draw, name: value} for draw, value in enumerate(draws, 1)]
        text = breakdown(results([{"point": 0, "status": "ok", "sender_s": 7.0, **row} for row in rows]))
        return next(each.split() for each in text.splitlines() if name in each)

    assert line("system_time_s")[:6] == ["=", "system_time_s", "105", "s", "+-", "64"]  # 12.706 x 7.07 / sqrt(2)
    assert line("sender_s", 7.0)[:4] == ["+", "sender_s", "105", "s"]
    assert line("ratio", *np.arange(0.0, 201.0))[:5] == ["ratio", "105", "10", "..", "190"]
    assert "+-" not in breakdown(results([{"point": 0, "replica": at, "draw": 0, "status": "ok"} for at in range(2)]))


def test_tables_are_made_again_by_one_command(sweep_in, capsys):
    folder = sweep_in("+grid=smoke", "policy=[xpfo,xpfo_deferred]", "ceiling=[0,33]", "cores=[2,4]", "jobs=4")
    names = {path.name for path in (folder / "tables").glob("*.csv")}
    assert {"summary.csv", "scaling.csv", "crossover.csv", "best_ceiling.csv", "pareto.csv", "counters.csv"} <= names
    before = {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}
    for path in (folder / "tables").iterdir():
        path.unlink()
    assert main(["tables", str(folder)]) == 0
    assert "tables/pareto.csv" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (folder / "tables").iterdir()} == before


def test_a_key_that_no_policy_reads_is_refused_with_what_they_read(tmp_path, capsys):
    from sweep.__main__ import main

    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "odd.yaml").write_text(
        "# Odd?\npolicy: xpfo_deferred\nmachine: i5_3550\nhandler_fixed_ns: [1, 2]\n"
    )
    assert main(["--config-dir", str(tmp_path), "+grid=odd", f"out={tmp_path}/out"]) == 2
    said = capsys.readouterr().err
    assert "'handler_fixed_ns' is used by none of its policies" in said
    assert "similar keys: flush_fixed_ns;" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "said"), [
    (["line_cross_ns=null"], "policy xpfo needs line_cross_ns: neither machine xeon_8160 nor"),
    (["engine=vectorized", "cores=6", "jobs=6"], "policy xpfo: engine=vectorized: does not model sockets of unequal"),
])  # fmt: skip
def test_a_machine_that_the_point_cannot_have_is_refused_before_anything_starts(tmp_path, capsys, words, said):
    from sweep.__main__ import main

    assert main(["+grid=point", "policy=xpfo", *words, f"out={tmp_path}/out"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sweep_larger_than_its_limit_does_not_start(tmp_path, capsys):
    from sweep.__main__ import main

    assert main(["+grid=smoke", "max_points=3", f"out={tmp_path}/out"]) == 2
    assert "; give max_points=4" in capsys.readouterr().err
    assert main(["+grid=large", "max_cpu_hours=0.001", f"out={tmp_path}/out"]) == 2
    assert "give max_cpu_hours=" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cut_of_the_large_grid_runs(sweep_in):
    folder = sweep_in("+grid=large", "points=5750:5790", "replicas=1", "window_events=320", "runner=serial")
    results = pd.read_parquet(folder / "results.parquet")
    assert len(results) == 40
    assert set(results["policy"]) == {"xpfo", "xpfo_batched"}
    assert results["ratio"].gt(1.0).all()
    assert results["point"].tolist() == list(range(5750, 5790))


def test_a_measurement_stands_beside_each_point_that_it_may_be_of(sweep_in):
    run = sweep_in("+grid=patch", "draws=0", "costs=calibrated", "policy=xpfo_deferred", "machine=i5_3550", "jobs=4",
                   "ceiling=[0,33,512]", "window_events=64", "replicas=2", "precision=0.1")  # fmt: skip
    table = pd.read_csv(run / "tables" / "reproduction.csv")
    assert table["ceiling"].tolist() == [0, 33, 512]
    results = pd.read_parquet(run / "results.parquet").drop_duplicates(["ceiling", "replica"])
    means = results.groupby("ceiling")["system_time_s"].mean()
    assert table["calibrated_s"].tolist() == pytest.approx(means.tolist())
