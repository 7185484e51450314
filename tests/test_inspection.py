"""Looking before, after and at one point: dry runs, comparisons, breakdowns, completion, frames."""

import re

import numpy as np
import pandas as pd
import pytest

import sweep
from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables import compare

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

SMALL = ("window_events=320", "precision=0.1")


def test_a_dry_run_says_what_it_would_be_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["+grid=smoke", "jobs=[1,2,4]", "dry_run=true"]) == 0
    said = capsys.readouterr().out
    for wanted in (
        "12 x 2 replicas = 24 lanes", "chunks     1, 0 already done in outputs/smoke/", "CPU-hours", "of results",
        "first      policy=vanilla machine=i5_3550", "last       policy=xpfo_deferred", "a pilot of 3 points",
    ):  # fmt: skip
        assert wanted in said
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_knows_what_is_done(tmp_path, capsys):
    out = f"out={tmp_path}/run"
    assert main(["+grid=smoke", "quiet=true", "chunk_s=0.05", out, *SMALL]) == 0
    parts = sorted((tmp_path / "run" / "parts").iterdir())
    parts[0].unlink()
    before = sorted(tmp_path.rglob("*"))
    assert main(["+grid=smoke", "dry_run=true", "chunk_s=0.05", out, *SMALL]) == 0
    assert f"chunks     {len(parts)}, {len(parts) - 1} already done" in capsys.readouterr().out
    assert main(["+grid=smoke", "dry_run=true", "seed=1", out, *SMALL]) == 0
    assert "another plan" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_of_a_huge_grid_takes_no_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    axis = "{from:0,to:9999,steps:10000}"
    assert (
        main(["+grid=smoke", "policy=xpfo", f"refill_ns={axis}", "ceiling={from:0,to:99,steps:100}", "dry_run=true"])
        == 0
    )
    assert "1000000 x 2 replicas" in capsys.readouterr().out


def test_a_single_point_prints_what_it_is_made_of(tmp_path, capsys):
    given = ["+grid=point", "policy=xpfo_deferred", "cores=96", "jobs=60", f"out={tmp_path}/run", *SMALL]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "xpfo_deferred on xeon_8160, kernel_build: 96 CPUs, -j60" in said
    lines = [line.split() for line in said.splitlines()]
    parts = sum(float(words[2]) for words in lines if words and words[0] == "+")
    base = next(float(words[1]) for words in lines if words and words[0] == "base_system_s")
    total = next(float(words[2]) for words in lines if words and words[0] == "=")
    assert base + parts == pytest.approx(total, abs=0.1)
    assert max(map(len, said.splitlines())) <= 100


def test_a_point_without_jobs_follows_its_cores(tmp_path, capsys):
    assert main(["+grid=point", "policy=xpfo", "machine=i5_3550", f"out={tmp_path}/run", *SMALL]) == 0
    assert "4 CPUs, -j4" in capsys.readouterr().out


def test_a_grid_without_jobs_is_told_so(tmp_path, capsys):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "mine.yaml").write_text("# Without jobs?\npolicy: xpfo\n")
    assert main(["--config-dir", str(tmp_path), "+grid=mine"]) == 2
    assert "jobs is not given" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pair(sweep_in):
    """The same sweep twice, with another refill in the second."""
    given = ("+grid=smoke", "costs=literature", "policy=[vanilla,xpfo_deferred]", "replicas=4", "jobs=[2,4]", *SMALL)
    return sweep_in(*given), sweep_in(*given, "invlpg_ns=400")


def test_compare_says_which_points_moved_and_by_how_many_intervals(pair, capsys):
    a, b = pair
    assert main(["compare", str(a), str(b)]) == 0
    said = capsys.readouterr().out
    assert "invlpg_ns: 85.0 in A, 400.0 in B" in said
    assert "4 points in both; 2 moved by more than one interval" in said
    assert "same seed and code" in said
    table = compare.compare(sweep.load(a), sweep.load(b), "system_time_s").table
    assert table["intervals"].tolist() == sorted(table["intervals"], reverse=True)
    top = table.iloc[0]
    jobs = top["jobs"]
    frames = [sweep.load(each) for each in pair]
    results = [each[(each["policy"] == "xpfo_deferred") & (each["jobs"] == jobs)] for each in frames]
    differences = results[1]["system_time_s"].to_numpy() - results[0]["system_time_s"].to_numpy()
    assert top["intervals"] == pytest.approx(differences.mean() / (3.182 * differences.std(ddof=1) / 2))


def test_a_run_did_not_move_from_itself(pair):
    frame = sweep.load(pair[0])
    found = compare.compare(frame, frame, "added_s")
    assert found.changed == {}
    assert (found.table["intervals"] == 0).all()


def made_up(values, seed=0, status="ok"):
    """A run of one point with these system times, a replica each."""
    base = dict.fromkeys(PARAMETER_COLUMNS, 1.0) | {"point": 0, "draw": 0, "policy": "xpfo", "machine": "m"}
    base |= {"workload": "w", "costs": "literature", "status": status}
    frame = pd.DataFrame([base | {"replica": r, "system_time_s": value} for r, value in enumerate(values)])
    frame.attrs["run"] = {"points": {"seed": seed}, "code": "c"}
    return frame


def test_a_shift_that_every_replica_shows_has_moved():
    a, b = made_up([100.0, 110.0]), made_up([108.0, 118.8])  # 8 % in both, and 10 % between them
    found = compare.compare(a, b, "system_time_s")
    assert found.paired
    assert found.table["intervals"].item() == pytest.approx(8.4 / (12.706 * np.std([8.0, 8.8], ddof=1) / 2**0.5))
    assert 1.0 < found.table["intervals"].item() < 2.0
    assert "1 moved by more than one interval" in compare.as_text(found, "system_time_s", 10)
    assert found.table["change_pct"].item() == pytest.approx(8.0)
    apart = compare.compare(a, made_up([108.0, 118.8], seed=1), "system_time_s")
    assert not apart.paired
    halves = [12.706 * np.std(values, ddof=1) / 2**0.5 for values in ([100.0, 110.0], [108.0, 118.8])]
    assert apart.table["intervals"].item() == pytest.approx(8.4 / np.hypot(*halves))
    assert "unpaired" in compare.as_text(apart, "system_time_s", 10)


def test_replicas_are_paired_by_their_number():
    a, b = made_up([100.0, 110.0, 130.0]), made_up([101.0, 111.5])
    found = compare.compare(a, b, "system_time_s").table.iloc[0]
    assert (found["a"], found["b"]) == (105.0, 106.25)
    assert found["intervals"] == pytest.approx(1.25 / (12.706 * np.std([1.0, 1.5], ddof=1) / 2**0.5))
    assert compare.compare(a, b.iloc[::-1], "system_time_s").table["intervals"].item() == found["intervals"]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("value", [100.0, 108.0])
def test_one_replica_says_nothing_of_an_interval(seed, value):
    found = compare.compare(made_up([100.0]), made_up([value], seed), "system_time_s")
    assert found.table["intervals"].isna().all()
    said = compare.as_text(found, "system_time_s", 10)
    assert "0 moved by more than one interval" in said
    assert "1 points without an interval: it needs two replicas" in said
    assert "inf" not in said


def test_a_difference_that_is_the_same_in_every_replica_is_beyond_any_interval():
    found = compare.compare(made_up([100.0, 100.0]), made_up([101.0, 101.0]), "system_time_s")
    assert found.table["intervals"].item() == np.inf


def test_a_change_from_nothing_has_no_percentage():
    for values, change in (([0.0, 0.0], np.nan), ([1.0, 1.0], 200.0), ([-1.0, -1.0], 400.0)):
        found = compare.compare(made_up(values), made_up([3.0, 3.0]), "system_time_s")
        assert found.table["change_pct"].item() == pytest.approx(change, nan_ok=True)


def test_a_failed_point_is_on_a_line_of_its_own():
    failed = made_up([np.nan, np.nan], status="failed: ZeroDivisionError")
    found = compare.compare(made_up([1.0, 2.0]), failed, "system_time_s")
    assert found.table.empty
    said = compare.as_text(found, "system_time_s", 10)
    assert "0 points in both; 0 moved" in said
    assert "failed, and not compared: xpfo, m, w, cores=1, jobs=1 (in B)" in said.splitlines()


def test_a_metric_without_a_value_is_not_known():
    none = [np.nan, np.nan]
    found = compare.compare(made_up(none), made_up(none), "system_time_s")
    assert found.table["intervals"].isna().all()


@pytest.mark.parametrize("metric", ["policy", "cores", "status", "point", "system_time"])
def test_only_a_metric_is_compared(pair, metric, capsys):
    assert main(["compare", *map(str, pair), "--metric", metric]) == 2
    assert f"--metric {metric}: must be a metric" in capsys.readouterr().err


def test_compare_names_what_is_not_a_run(pair, tmp_path, capsys):
    assert main(["compare", str(pair[0]), str(tmp_path)]) == 2
    assert main(["compare", *map(str, pair), "--metric", "nope"]) == 2
    assert "--metric nope" in capsys.readouterr().err


def test_load_gives_units_and_the_run(pair):
    frame = sweep.load(pair[0])
    assert len(frame) == 16
    assert frame.attrs["units"]["system_time_s"] == "s"
    assert frame.attrs["units"]["flush_wait_ns"] == "ns"
    assert set(frame.attrs["units"]) == set(frame.columns)
    assert frame.attrs["run"]["grid"] == "smoke"
    for name in ("units", "run"):  # whose copies took longer than the tables of a point
        assert frame[frame["cores"] > 0]["system_time_s"].attrs[name] is frame.attrs[name]
    with pytest.raises(BadInput, match=r"it has no run\.json"):
        sweep.load(pair[0] / "tables")


def test_a_full_grid_becomes_a_dataset_with_its_axes(pair):
    made = sweep.to_xarray(sweep.load(pair[0]))
    assert dict(made.sizes) == {"policy": 2, "jobs": 2, "replica": 4}
    assert made["system_time_s"].attrs["units"] == "s"
    assert made.attrs["machine"] == "i5_3550"
    frame = sweep.load(pair[0])
    wanted = frame.query("policy == 'xpfo_deferred' and jobs == 2 and replica == 3")["added_s"].item()
    assert made["added_s"].sel(policy="xpfo_deferred", jobs=2, replica=3).item() == wanted


def test_a_tied_axis_becomes_a_coordinate_and_an_incomplete_grid_is_refused(sweep_in):
    frame = sweep.load(sweep_in("+grid=cores", "policy=xpfo_deferred", "jobs=2", "replicas=2", *SMALL))
    frame = frame[frame["machine"] == "xeon_8160"]
    made = sweep.to_xarray(frame)
    assert made["added_s"].dims == ("cores", "replica")
    assert made["sockets"].dims == ("cores",)
    assert made["sockets"].sel(cores=256).item() == 4
    with pytest.raises(ValueError, match="not a full grid"):
        sweep.to_xarray(frame[~((frame["cores"] == 4) & (frame["replica"] == 1))])


@pytest.mark.parametrize("given", ["quiet=maybe", "report=2", "dry_run=later"])
def test_a_switch_is_true_or_false(given, capsys):
    assert main(["+grid=smoke", given]) == 2
    assert "must be true or false" in capsys.readouterr().err


def test_a_run_leaves_a_report_unless_it_is_told_not_to(tmp_path, capsys):
    assert main(["+grid=smoke", f"out={tmp_path}/a", *SMALL]) == 0
    assert (tmp_path / "a" / "report.html").is_file()
    assert main(["+grid=smoke", f"out={tmp_path}/b", "report=false", *SMALL]) == 0
    assert not (tmp_path / "b" / "report.html").exists()
    assert isinstance(pd.read_csv(tmp_path / "a" / "tables" / "summary.csv"), pd.DataFrame)


def test_a_point_under_draws_shows_how_far_its_costs_are_known(tmp_path, capsys):
    assert main(["+grid=point", "machine=i5_3550", "draws=8", f"out={tmp_path}/run", *SMALL]) == 0
    said = capsys.readouterr().out
    line = next(each for each in said.splitlines() if "system_time_s" in each)
    mean, low, high = (float(word) for word in re.findall(r"[0-9]+\.?[0-9]*", line.partition("system_time_s")[2])[:3])
    assert low < mean < high
    results = sweep.load(tmp_path / "run")
    by_draw = results[results["draw"] > 0].groupby("draw")["system_time_s"].mean()
    assert low == pytest.approx(by_draw.quantile(0.05), rel=1e-3)


def test_runs_under_different_costs_are_compared_point_by_point(sweep_in, capsys):
    given = ("+grid=smoke", "replicas=4", *SMALL)
    a, b = sweep_in(*given, "draws=2"), sweep_in(*given, "costs=literature")
    assert main(["compare", str(a), str(b)]) == 0
    said = capsys.readouterr().out
    assert "costs: calibrated in A, literature in B" in said
    assert "4 points in both" in said


@pytest.mark.parametrize("backend", ["pyarrow", "numpy_nullable"])
def test_a_dataset_is_the_same_whatever_types_a_frame_has(pair, backend):
    whole = sweep.to_xarray(sweep.load(pair[0]))
    frame = pd.read_parquet(pair[0] / "results.parquet", dtype_backend=backend)
    assert sweep.to_xarray(frame)["added_s"].equals(whole["added_s"])
    with pytest.raises(TypeError, match="NoneType: must be a DataFrame"):
        sweep.to_xarray(None)


def test_a_run_by_two_spellings_is_one_run(pair):
    with pytest.raises(BadInput, match="is given twice"):
        sweep.concat([str(pair[0]), f"{pair[0]}/"])
