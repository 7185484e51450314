"""`sweep check`: some points of a coarse run, simulated exactly."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from sim.machine.compiled.cache import has_compiler
from sweep.__main__ import main
from sweep.tables.rule_gap import choose_points, coarse_points, saturation

pytestmark = pytest.mark.skipif(not has_compiler(), reason="the exact rule takes too long without numba")

AXES = ("+grid=smoke", "machine=xeon_8160", "jobs=[1,4,16,32]", "cores=32", "policy=[vanilla,xpfo,xpfo_deferred]")
SHORT = ("window_events=320", "precision=0", "replicas=2", "report=false")


@pytest.fixture(scope="module")
def runs(sweep_in):
    """The same sweep by either rule."""
    return {rule: sweep_in(*AXES, *SHORT, f"rule={rule}") for rule in ("coarse", "exact")}


def test_the_gap_is_the_coarse_run_over_the_exact_one(runs, capsys):
    assert main(["check", str(runs["coarse"]), "--points", "4"]) == 0
    table = pd.read_parquet(runs["coarse"] / "tables" / "rule_gap.parquet").set_index("point")
    coarse, exact = (
        pd.read_parquet(runs[rule] / "results.parquet").groupby("point").mean(numeric_only=True)
        for rule in ("coarse", "exact")
    )
    assert list(table["policy"].unique()) == ["xpfo"]  # deferral is exact by either name
    assert sorted(table["jobs"]) == [1, 4, 16, 32]
    for point, row in table.iterrows():
        for name, gap in (("flush_wait_ns", "wait_gap_pct"), ("system_time_s", "system_time_gap_pct")):
            assert row[name] == exact.loc[point, name]
            assert row[gap] == pytest.approx(100 * (coarse.loc[point, name] / exact.loc[point, name] - 1))
    assert table["saturation"].is_monotonic_decreasing
    assert (table["wait_gap_pct"].abs() > 1).any()
    assert "wait_gap_pct" in capsys.readouterr().out


def test_points_are_spread_over_saturation_and_hold_the_most_saturated_one(runs):
    results = pd.read_parquet(runs["coarse"] / "results.parquet")
    points = coarse_points(results)
    assert len(points) == 4
    two = choose_points(points, 2)
    assert two["jobs"].max() == 32
    assert two["jobs"].min() < 16
    assert saturation(results[results["policy"] == "xpfo"]).between(0.0, 1.0).all()


@pytest.mark.parametrize("arguments", [["--points", "0"], ["--points", "-3"]])
def test_a_number_of_points_that_is_none_is_refused(runs, arguments, capsys):
    assert main(["check", str(runs["coarse"]), *arguments]) == 2
    assert "must be at least 1" in capsys.readouterr().err


def test_what_cannot_be_checked_is_said_and_leaves_nothing(runs, capsys, tmp_path):
    assert main(["check", str(runs["exact"]), f"--out={tmp_path}/new"]) == 2
    assert "nothing to check" in capsys.readouterr().err
    run = json.loads((runs["coarse"] / "run.json").read_text())
    (runs["coarse"] / "run.json").write_text(json.dumps(run | {"code": "0" * 64}))
    assert main(["check", str(runs["coarse"]), f"--out={tmp_path}/new"]) == 2
    assert "another version of the model" in capsys.readouterr().err
    (runs["coarse"] / "run.json").write_text(json.dumps(run))
    assert not (tmp_path / "new").exists()
