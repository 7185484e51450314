"""What tells points apart is written by the plan and read by every table."""

import pandas as pd
import pytest

import sweep
from sweep.__main__ import main
from sweep.plan.coordinates import coordinates
from sweep.tables.coordinates import coordinates as read
from tests.test_grid import plan_of

SMALL = ("runner=serial", "window_events=32", "precision=0.2", "replicas=1")


def of(content, pinned=None):
    return coordinates(plan_of(content, pinned).space.blocks)


def test_axes_are_coordinates_and_single_values_are_none():
    found = of({"policy": ["xpfo", "xpfo_deferred"], "jobs": 4, "ceiling": [0, 33], "refill_ns": [7]})
    assert found == {"names": ["policy", "ceiling"], "follows": {}, "relative": {}}


def test_a_tied_name_follows_the_one_that_decides_it():
    found = of({"policy": "xpfo", "jobs": "1 x cores", "zip": {"cores": [4, 8], "sockets": [1, 2]}})
    assert found == {"names": ["cores", "sockets"], "follows": {"sockets": "cores"}, "relative": {"jobs": "cores"}}


def test_a_tied_name_that_differs_where_the_other_one_does_not_is_told_apart():
    found = of({"policy": "xpfo", "jobs": 4, "zip": {"cores": [4, 4, 8], "sockets": [1, 2, 2]}})
    assert found["follows"] == {}
    assert found["names"] == ["cores", "sockets"]


def test_an_axis_of_its_own_does_not_follow():
    found = of({"policy": "xpfo", "jobs": 4, "cores": [4, 8], "sockets": [1, 2]})
    assert found["names"] == ["cores", "sockets"]
    assert found["follows"] == {}


def test_what_differs_between_blocks_is_a_coordinate():
    found = of({"policy": "xpfo_deferred_bounded", "jobs": 4, "blocks": [{"tick_hz": 100}, {"tick_hz": 1000}]})
    assert found["names"] == ["tick_hz"]
    found = of({"policy": "xpfo_deferred_bounded", "jobs": 4, "blocks": [{"tick_hz": 100}, {"ceiling": [0, 1]}]})
    assert found["names"] == ["ceiling", "tick_hz"]


def test_jobs_are_relative_only_where_all_of_them_are():
    assert of({"policy": "xpfo", "cores": [4, 8], "jobs": [4, "1 x cores"]})["relative"] == {}


def test_a_range_of_a_billion_values_costs_nothing():
    found = of({"policy": "xpfo", "jobs": 4, "refill_ns": {"from": 0, "to": 1e9, "steps": 1_000_000_000}})
    assert found["names"] == ["refill_ns"]


@pytest.mark.parametrize("read_it", [sweep.load, lambda out: pd.read_parquet(out / "results.parquet")])
def test_results_carry_their_coordinates(sweep_in, read_it):
    run = sweep_in("+grid=cores", "policy=xpfo_deferred", *SMALL)
    told_apart = read(read_it(run))
    assert told_apart.own == ["machine", "cores", "jobs"]
    assert told_apart.follows == {"sockets": "cores"}
    assert told_apart.relative == {"jobs": "cores"}


def test_rows_without_a_plan_are_told_apart_by_all_that_varies():
    frame = pd.DataFrame({"policy": ["a", "b"], "cores": [1.0, 1.0], "ceiling": [0.0, 33.0]})
    assert read(frame).own == ["policy", "ceiling"]


@pytest.mark.parametrize(
    ("axis", "column"),
    [
        ("clock_scale=[1,2]", "invlpg_ns"),
        ("alloc_per_kunmap=[0.5,1]", "alloc_events"),
        ("large_range_share=[0,0.1]", "range_pages"),
        ("user_s_over_xeon=[1,2]", "user_s"),
    ],
)
def test_a_quantity_that_others_are_made_from_is_shown_by_one_of_these(sweep_in, axis, column):
    run = sweep_in("+grid=smoke", "policy=[xpfo]", "ceiling=[0,33]", axis, *SMALL)
    told = read(sweep.load(run)).names
    shown = next(name for name in told if name not in ("ceiling", "policy"))
    assert shown == column or (axis.startswith("clock") and shown in sweep.load(run))
    summary = pd.read_csv(run / "tables" / "summary.csv")
    assert summary[shown].nunique() == 2
    assert len(pd.read_csv(run / "tables" / "best_ceiling.csv")) == 2
    assert main(["report", str(run), "--no-plots"]) == 0
