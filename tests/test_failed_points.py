"""Points that fail leave tables and a page of what there is, and a sentence where there is nothing."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest

import sim
import sweep
from sweep.__main__ import main
from sweep.report.page import read_plots
from sweep.report.pictures import write_pictures
from sweep.run import compute
from sweep.store.folder import open_folder, open_run
from tests.conftest import changed, sign
from tests.page import drawn, words

SMALL = ("window_events=64", "precision=0.3", "runner=serial", "costs=literature")
WIDE = ("policy=[vanilla,xpfo,xpfo_deferred]", "cores=[2,4]", "jobs=[2,4]", "ceiling=[0,33,512]")


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """failing(where, *overrides): a run whose points with where(parameters) true could not be simulated."""

    def run(where, *overrides):
        def simulate(**parameters):
            if any(where(dict(zip(parameters, row, strict=True))) for row in _rows(parameters)):
                raise ZeroDivisionError("a point that cannot be")
            return sim.simulate(**parameters)

        monkeypatch.setattr(compute, "simulate", simulate)
        folder = tmp_path / "run"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert main(["+grid=smoke", *SMALL, *overrides, f"out={folder}", "report=true"]) == 3
        return folder

    return run


def _rows(parameters):
    points = max(np.size(value) for value in parameters.values() if isinstance(value, np.ndarray))
    columns = [np.broadcast_to(np.asarray(value, dtype=object), points) if np.ndim(value) < 2 else [value] * points
               for value in parameters.values()]  # fmt: skip
    return zip(*columns, strict=True)


def all_of(point):
    return True


def deferred(point):
    return point["policy"] == "xpfo_deferred"


def half(point):
    return (point["ceiling"] == 33) != (point["jobs"] == 4)


def shown_again(folder):
    """What the verbs make of the run, with warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["tables", str(folder)]) == 0
        assert main(["report", str(folder)]) == 0
    return folder / "tables"


@pytest.mark.parametrize("draws", [(), ("draws=3",)], ids=["central", "draws"])
@pytest.mark.parametrize("where", [all_of, deferred, half])
def test_a_run_with_failed_points_has_tables_and_a_page(failing, where, draws, capsys):
    folder = failing(where, *WIDE, *draws)
    tables = shown_again(folder)
    summary = pd.read_csv(tables / "summary.csv")
    assert len(summary) == 36
    failed = summary["status"] != "ok"
    assert summary["system_time_s"].isna().tolist() == failed.tolist()
    assert failed.sum() == {all_of: 36, deferred: 12, half: 18}[where]
    page = (folder / "report.html").read_text()
    sentence = "All 36 points failed" if where is all_of else f"{failed.sum()} of 36 points failed and have no numbers"
    assert sentence in page
    assert sentence in capsys.readouterr().out
    for plot in read_plots(open_run(str(folder))):
        assert len(plot.table) or plot.kind == "table", plot.name
        if plot.y == "added_s":
            assert plot.table["added_s"].notna().all()
        if "policy" in plot.table and where is deferred:
            assert "xpfo_deferred" not in set(plot.table["policy"])


def test_a_policy_that_fails_everywhere_alone_gets_a_page(failing):
    folder = failing(deferred, "policy=xpfo_deferred", "jobs=[2,4]", "ceiling=[0,33,512]")
    tables = shown_again(folder)
    assert [path.name for path in sorted(tables.glob("*.csv"))] == ["summary.csv"]
    assert "All 6 points failed" in (folder / "report.html").read_text()


def test_what_is_left_is_what_a_run_without_the_failed_points_says(failing, sweep_in):
    folder = failing(deferred, *WIDE)
    whole = sweep_in(*changed("+grid=smoke", *SMALL, *WIDE, "policy=[vanilla,xpfo]"))
    for name in ("scaling", "crossover", "best_ceiling", "counters"):
        found, wanted = (pd.read_parquet(run / "tables" / f"{name}.parquet") for run in (folder, whole))
        pd.testing.assert_frame_equal(found, wanted)


def test_a_failed_point_alone_says_so(failing, capsys):
    failing(all_of, "policy=xpfo", "jobs=4")
    assert "failed: ZeroDivisionError: a point that cannot be" in " ".join(capsys.readouterr().out.split())


def test_metrics_without_meaning_leave_tables_and_a_page(sweep_in, tmp_path):
    folder = sweep_in("+grid=smoke", *SMALL, *WIDE)
    results = pd.read_parquet(folder / "results.parquet")
    for metrics in (["ratio"], ["ratio", "added_s"], sorted(sim.METRICS)):
        results[metrics] = np.nan
        results.to_parquet(folder / "results.parquet")
        sign(folder)
        shown_again(folder)
        assert pd.read_csv(folder / "tables" / "summary.csv")["ratio"].isna().all()
        crossover = pd.read_csv(folder / "tables" / "crossover.csv")
        assert set(crossover["said"]) == {"not known"}
        assert "nan" not in re.findall(r"\w+", (words(folder) + drawn(folder)).lower())


def test_a_front_without_a_positive_overhead_is_not_drawn(sweep_in, tmp_path):
    folder = sweep_in("+grid=smoke", *SMALL, *WIDE)
    results = pd.read_parquet(folder / "results.parquet")
    results["added_s"] = -results["added_s"]
    results.to_parquet(folder / "results.parquet")
    sign(folder)
    plots = {plot.name: plot for plot in read_plots(open_run(str(folder)))}
    assert "front" not in plots
    write_pictures(open_folder(str(tmp_path)), list(plots.values()))


def test_results_are_loaded_as_they_are(failing):
    results = sweep.load(failing(half, *WIDE))
    assert (results["status"] != "ok").sum() == results["system_time_s"].isna().sum() > 0


def test_points_of_overlapping_blocks_are_counted_once(tmp_path, capsys):
    (tmp_path / "grid").mkdir()
    block = "{policy: [vanilla, xpfo], machine: i5_3550, jobs: 4, ceiling: [0, 33]}"
    for name, blocks in (("once", [block]), ("twice", [block, block.replace("33", "512")])):
        text = f"# Once?\nwindow_events: 64\nprecision: 0.3\ncosts: literature\nblocks: [{', '.join(blocks)}]\n"
        (tmp_path / "grid" / f"{name}.yaml").write_text(text)
        given = ("--config-dir", str(tmp_path), f"+grid={name}", f"out={tmp_path}/{name}", "runner=serial")
        assert main([*given, "report=true"]) == 0
    said = capsys.readouterr().out
    assert said.count("2 points equal an earlier one in every parameter; each counts once") == 1
    once, twice = (sweep.load(tmp_path / name) for name in ("once", "twice"))
    assert (len(once), len(twice)) == (16, 32)
    tables = [pd.read_csv(tmp_path / name / "tables" / "summary.csv") for name in ("once", "twice")]
    assert len(tables[1]) == 6
    shared = tables[1][tables[1]["ceiling"] != 512].drop(columns="point").reset_index(drop=True)
    pd.testing.assert_frame_equal(shared, tables[0].drop(columns="point"))
    plots = {plot.name: plot for plot in read_plots(open_run(str(tmp_path / "twice")))}
    assert len(plots["points"].table) == 6
    assert plots["points"].note.startswith("2 points equal an earlier one")


def test_a_published_time_has_one_interval_however_often_its_point_is_in_the_grid(tmp_path):
    block = "{policy: [xpfo], machine: i5_3550, jobs: 4}"
    (tmp_path / "grid").mkdir()
    spans = []
    for name, blocks in (("once", [block]), ("twice", [block, block])):
        text = f"# Once?\nwindow_events: 64\nprecision: 0.3\ncosts: literature\nblocks: [{', '.join(blocks)}]\n"
        (tmp_path / "grid" / f"{name}.yaml").write_text(text)
        given = ("--config-dir", str(tmp_path), f"+grid={name}", f"out={tmp_path}/{name}", "runner=serial")
        assert main([*given, "quiet=true"]) == 0
        table = pd.read_csv(tmp_path / name / "tables" / "reproduction.csv")
        spans.append((table["literature_lo_s"].item(), table["literature_hi_s"].item()))
    assert spans[0] == spans[1]


@pytest.mark.parametrize("tied", [False, True])
def test_sockets_and_threads_on_axes_of_their_own_are_told_apart(sweep_in, tied):
    axes = ["cores=[4,8]", "jobs='1 x cores'"] + ([] if tied else ["sockets=[1,2]", "threads_per_core=[1,2]"])
    folder = sweep_in("+grid=smoke", *SMALL, "policy=[xpfo]", *axes)
    scaling, crossover = (pd.read_csv(folder / "tables" / f"{name}.csv") for name in ("scaling", "crossover"))
    curves = 1 if tied else 4
    assert len(scaling) == 2 * curves
    assert len(crossover) == 4 * curves
    if not tied:
        assert scaling.groupby(["sockets", "threads_per_core"]).ngroups == 4
        results = sweep.load(folder)
        for row in scaling.itertuples():
            mine = results.query(
                "cores == @row.cores and sockets == @row.sockets and threads_per_core == @row.threads_per_core"
            )
            assert row.ratio == pytest.approx(mine["ratio"].mean())
