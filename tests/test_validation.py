"""What others measured: tables read by a typed door, points that predict them, and how far the model errs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sweep
from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.inputs.conf import conf_dir
from sweep.inputs.likelihood import estimate_discrepancy, spread
from sweep.inputs.measured import Measured, Table, as_json, from_json, points_of, published, read_measured, read_table
from sweep.store.folder import open_run
from sweep.tables.frame import read_results
from sweep.tables.make import make_tables, measured_of
from sweep.tables.validation import validation, validation_summary
from tests.page import drawn

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

TABLE = """
title: mine
source: me
metric: flush_wait_ns
point: {machine: i5_3550, policy: xpfo_concurrent, workload: one_shooter, jobs: 4}
rows:
  - {senders: 1, measured: 2000}
  - {senders: 2, measured: 2500, between: [2000, 3000], note: rough}
"""


@pytest.fixture(scope="module")
def run(sweep_in):
    """All tables, with few draws and short windows."""
    return sweep_in("+grid=validation", "draws=6", "window_events=256", "warmup_events=64", "runner=serial")


@pytest.fixture(scope="module")
def tables(run):
    folder = open_run(str(run))
    return read_results(folder), measured_of(folder)


def test_every_row_is_predicted_under_both_costs(run, tables):
    found = pd.read_parquet(run / "tables" / "validation.parquet")
    rows = [row for table in published().tables for row in table.rows]
    assert len(found) == 2 * len(rows) > 90
    assert (found["predicted_05"] <= found["predicted_50"]).all()
    assert (found["predicted_50"] <= found["predicted_95"]).all()
    assert found["inside_90"].isna().tolist() == found["role"].isin(["input", "fitted"]).tolist()
    one = found[(found["table"] == "tlb_flush1") & (found["at"] == 1)]
    assert one["predicted_50"].to_numpy() == pytest.approx(one["measured"].to_numpy(), rel=0.01)  # it went in
    said = pd.read_csv(run / "tables" / "validation_summary.csv")
    whole = said[said["table"] == "all"]
    assert whole["rows"].tolist() == [(found["role"] == "predict").sum() // 2] * 2
    assert said.loc[said["table"] != "all", "inside"].sum() == whole["inside"].sum() == found["inside_90"].sum() - 2


def test_a_machine_that_was_fitted_errs_as_said_and_others_as_the_rest_of_the_tables_says(tables):
    results, measured = tables
    found, _ = validation(results, measured)
    fitted = found[found["machine"].isin(["xeon_8160", "i5_3550"]) & (found["table"] == "builds")]
    assert (fitted["discrepancy"] == spread().discrepancy(96)).all()
    mine = [table for table in measured.tables if table.name.startswith("tlb_flush1")]
    wrong = [
        table.model_copy(update={"rows": [row.model_copy(update={"measured": row.measured / 9}) for row in table.rows]})
        for table in mine
    ]
    others = [table for table in measured.tables if table not in mine]
    moved, _ = validation(results, replace(measured, tables=(*others, *wrong)))
    before, after = (
        each[each["table"].str.startswith("tlb_flush1")]["discrepancy"].to_numpy() for each in (found, moved)
    )
    assert before == pytest.approx(after)  # estimated without them
    elsewhere = moved["table"] == "one_shooter"
    assert (
        moved.loc[elsewhere, "discrepancy"].min() > 2 * found.loc[found["table"] == "one_shooter", "discrepancy"].max()
    )


def test_the_error_on_other_machines_is_what_all_their_rows_say(tables):
    rows, found = validation(*tables)
    assert list(found) == ["calibrated", "literature"]
    for error in found.values():
        assert error == pytest.approx(spread().elsewhere, rel=0.6)  # with few draws
    summary = validation_summary(rows, found)
    assert summary.loc[summary["table"] == "all", "discrepancy"].tolist() == list(found.values())


def test_the_most_likely_discrepancy_is_found_where_it_is_known():
    random = np.random.default_rng(0)
    for true in (0.05, 0.3, 1.0):
        groups = [(np.full(16, true * random.standard_normal()), 0.01) for _ in range(400)]
        assert estimate_discrepancy(groups) == pytest.approx(true, rel=0.1)
    wide = [(0.5 * random.standard_normal(256), 0.01) for _ in range(50)]  # the costs explain it
    assert estimate_discrepancy(wide) < 0.1
    assert np.isnan(estimate_discrepancy([]))


def made_up(rows, times=1.0):
    """Results of a machine that was not fitted, the same under each of 64 draws, a point per row; and a table of these.

    A row is what is simulated by metric, and what else the table says of it.
    """
    draws = [
        {"machine": "other", "policy": "xpfo", "workload": "w", "costs": "c", "cores": 192, "jobs": at, "draw": draw}
        | {"base_system_s": 100.0, "operation_ns_total": 1e6, "elongation": 2.0, **simulated}
        for at, (simulated, _) in enumerate(rows)
        for draw in range(65)
    ]
    said = [{"point": {"jobs": at}, "metric": next(iter(each)), **row} for at, (each, row) in enumerate(rows)]
    table = Table.model_validate({"name": "t", "title": "t", "source": "s", "times": times, "rows": said})
    return pd.DataFrame(draws), Measured(tables=(table,))


SD = float(
    np.hypot(2 * spread().elsewhere, spread().run)
)  # of a measurement's logarithm: at 192 CPUs errors are double


@pytest.mark.parametrize(
    ("role", "measured", "between", "inside"),
    [
        *(("predict", at, None, abs(at) < 1.645) for at in (-1.7, -1.6, 0.0, 1.6, 1.7)),
        *(("at_least", at, None, at < 1.645) for at in (-9.0, 1.6, 1.7)),
        *(("predict", 0.0, ends, inside) for ends, inside in (((-9, -1.7), False), ((-9, -1.6), True))),
        *(("predict", 0.0, ends, inside) for ends, inside in (((1.7, 9), False), ((1.6, 9), True))),
        *((role, 0.0, None, None) for role in ("input", "fitted")),
    ],
)
def test_nine_of_ten_measurements_would_lie_in_the_interval(role, measured, between, inside):
    """A prediction of 2000 ns whose logarithm is normal: measured so many standard deviations above it."""
    at = [2000.0 * np.exp(SD * each) for each in (measured, *(between or ()))]
    row = {"measured": at[0], "role": role, "between": at[1:] or None}
    found = validation(*made_up([({"flush_wait_ns": 1000.0}, row)], times=2.0))[0].iloc[0]
    ends = 2000.0 * np.exp(1.645 * SD * np.array([-1, 0, 1]))
    assert found[["predicted_05", "predicted_50", "predicted_95"]].tolist() == pytest.approx(ends, rel=0.04)
    assert found["error_pct"] == pytest.approx(100 * (np.exp(-SD * measured) - 1), rel=0.04, abs=1.0)
    assert found["discrepancy"] == 2 * spread().elsewhere
    assert pd.isna(found["inside_90"]) if inside is None else found["inside_90"] == inside


def test_the_summary_of_a_table_counts_and_takes_medians():
    rows = [({"flush_wait_ns": 1000.0}, {"measured": 1000.0 * np.exp(-SD * at)}) for at in (1.0, 0.1, -0.2, 9.0)]
    table = validation(*made_up([*rows, ({"flush_wait_ns": 1.0}, {"measured": 9.0, "role": "input"})]))[0]
    whole = validation_summary(table, {"c": 0.5}).set_index("table").loc["all"]
    assert (whole["rows"], whole["inside"], whole["discrepancy"]) == (4, 3, 0.5)
    middle = [100 * (np.exp(SD) - 1), 100 * (1 - np.exp(-0.2 * SD))]
    assert whole["error_pct"] == pytest.approx(np.mean(middle), rel=0.04)
    assert whole["width"] == pytest.approx(np.exp(2 * 1.645 * SD), rel=0.08)


@pytest.mark.parametrize(
    ("simulated", "measured", "added_error_pct"),
    [
        ({"system_time_s": 300.0}, 500.0, -50.0),  # 200 s beside 400 s on a base of 100 s
        ({"ratio": 3.0}, 2.0, 100.0),  # 2 beside 1
        ({"flush_wait_ns": 300.0}, 200.0, 50.0),  # nothing is there without flush events
        ({"operations_per_s": 1000.0}, 500.0, 100 * (0.5 / 1.5 - 1)),  # of 1 ms half is own work; of 2 ms it is, too
    ],
)
def test_what_flush_events_add_is_measured_above_what_is_there_without_them(simulated, measured, added_error_pct):
    found = validation(*made_up([(simulated, {"measured": measured})]))[0].iloc[0]
    assert found["added_error_pct"] == pytest.approx(added_error_pct)
    assert found["predicted_50"] == pytest.approx(next(iter(simulated.values())), rel=0.04)


def test_the_metric_of_another_point_is_taken_off():
    rows = [
        ({"flush_wait_ns": 700.0}, {"measured": 1.0, "less": {"jobs": 1}}),
        ({"flush_wait_ns": 200.0}, {"measured": 1}),
    ]
    assert validation(*made_up(rows, times=3.0))[0]["predicted_50"].tolist() == pytest.approx([1500.0, 600.0], rel=0.04)


def test_tables_of_ones_own_are_predicted_and_kept_with_the_run(tmp_path, sweep_in):
    own = tmp_path / "conf" / "validation"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(TABLE)
    out = tmp_path / "out"
    words = ["+grid=validation", "grid.validation=mine", "draws=2", "window_events=64", "runner=serial", f"out={out}"]
    assert main(["--config-dir", str(tmp_path / "conf"), *words, "quiet=true"]) == 0
    found = pd.read_parquet(out / "tables" / "validation.parquet")
    assert found["measured"].tolist() == [2000.0, 2000.0, 2500.0, 2500.0]
    (own / "mine.yaml").unlink()
    assert main(["tables", str(out)]) == 0  # without the user's folder
    again = pd.read_parquet(out / "tables" / "validation.parquet")
    pd.testing.assert_frame_equal(found, again)


def test_a_table_that_is_fitted_is_shown_beside_what_is_simulated_and_counted_nowhere(tmp_path):
    words = ["+grid=validation", "grid.validation=guest_broadcast", "draws=2", "window_events=64", "runner=serial"]
    assert main([*words, f"out={tmp_path}", "quiet=true", "report=true"]) == 0
    found = pd.read_parquet(tmp_path / "tables" / "validation.parquet")
    assert found["role"].tolist() == ["fitted"] * 8
    assert found["inside_90"].isna().all()
    assert (found["discrepancy"] == spread().discrepancy(80)).all()  # of a machine that was fitted
    assert not (tmp_path / "tables" / "validation_summary.csv").exists()
    assert "Every measured value" in drawn(tmp_path)


def test_measurements_of_ones_own_are_rows_of_the_reproduction(tmp_path):
    head = (conf_dir() / "measurements.csv").read_text().splitlines()[0]
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "measurements.csv").write_text(f"{head}\nme,i5_3550,kernel_build,4,2,xpfo,607.671,1200,yes,mine\n")
    out = tmp_path / "out"
    words = ["+grid=smoke", "policy=xpfo", "machine=i5_3550", "jobs=2", "base_system_s=607.671", "window_events=64"]
    assert main(["--config-dir", str(folder), *words, "runner=serial", f"out={out}", "quiet=true"]) == 0
    assert pd.read_csv(out / "tables" / "reproduction.csv")["measured_s"].tolist() == [1200.0]
    both = read_measured([folder, conf_dir()])
    assert len(both.builds) == len(published().builds) + 1
    assert both.builds["source"].iloc[0] == "me"


def test_what_a_run_keeps_is_what_was_read():
    measured = published()
    again = from_json(as_json(measured, "all"), "run.json")
    assert again.tables == measured.tables
    pd.testing.assert_frame_equal(again.builds, measured.builds)
    assert from_json(as_json(measured), "run.json").tables == ()
    assert from_json(as_json(measured), "run.json").fitted_machines == measured.fitted_machines
    assert "skylake_guest_80" in measured.fitted_machines
    assert from_json({"builds": as_json(measured)["builds"]}, "run.json").fitted_machines == {"xeon_8160", "i5_3550"}
    assert len(from_json(None, "run.json").builds) == len(measured.builds)


def test_points_are_asked_for_once():
    points = points_of(published().tables)
    assert len(points) == len({repr(sorted(point.items(), key=str)) for point in points})


@pytest.mark.parametrize(("text", "said"), [
    (TABLE.partition("rows:")[0] + "rows: []", "rows=\\[\\]"),
    (TABLE.replace("measured: 2000", "measured: -1"), "rows.0: measured=-1: must be above 0"),
    (TABLE.replace("metric: flush_wait_ns", "metric: flush_wait"), "no such metric; did you mean 'flush_wait_ns'"),
    (TABLE.replace("note: rough", "role: guess"), "rows.1: role='guess': must be predict, input, at_least or fitted"),
    (TABLE.replace("note: rough", "role: fitted"), r"rows.1: role=fitted: between=\[2000.0, 3000.0\]: a fitted row"),
    (TABLE.replace("note: rough", "role: fitted, metric: ratio"), "metric=ratio: must be flush_wait_ns, "),
    (TABLE.replace("rows:", "less: {jobs: 1}\nrows:").replace("measured: 2000", "measured: 2000, role: fitted"),
     r"rows.0: role=fitted: less=\{'jobs': 1\}: a fitted row must be one unchanged value"),
    (TABLE.replace("title: mine\n", ""), "title: not given"),
    (TABLE.replace("note: rough", "note: rough, rol: input"), "rows.1: unknown key 'rol'; did you mean 'role'"),
    (TABLE.replace("senders: 1", "senders: [1, 2]"), r"rows.0: senders=\[1, 2\]: must be one number"),
    (TABLE.replace("senders: 1", "senders: 0.5 x jobs"), "rows.0: senders='0.5 x jobs': must be one number"),
    (TABLE.replace("senders: 1", "range_pages: {8: 1}"), r"rows.0: range_pages=\{8: 1\}: must be one name"),
    (TABLE.replace("title: mine", "title: mine\ncurve: cores"), "rows.0: cores: not given, and the curve varies it"),
])  # fmt: skip
def test_a_table_that_is_wrong_is_refused_in_one_line(tmp_path, text, said):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(BadInput, match=said):
        read_table("mine", tmp_path / "mine.yaml")


@pytest.mark.parametrize(("row", "said"), [
    ("me,i5_3550,kernel_build,4.5,2,xpfo,607,1200,yes,", "measurements.csv, line 2: cores=4.5: must be a whole number"),
    ("me,i5_3550,kernel_build,4,2,xpfo,607,lots,yes,", "line 2: measured_s='lots': must be a number"),
    ("me,i5_3550,kernel_build,4,2,xpfo,607,1200,perhaps,", "line 2: fitted='perhaps': must be yes or no"),
    ("me,i5_3550", "line 2: must have 10 fields, as the first line has"),
])  # fmt: skip
def test_a_measurement_that_is_wrong_is_refused_in_one_line(tmp_path, row, said):
    head = (conf_dir() / "measurements.csv").read_text().splitlines()[0]
    (tmp_path / "measurements.csv").write_text(f"{head}\n{row}\n")
    with pytest.raises(BadInput, match=said):
        read_measured([tmp_path])


def test_a_table_that_is_not_there_is_named(capsys):
    assert main(["+grid=validation", "grid.validation=tlb_flush"]) == 2
    assert "validation='tlb_flush': no such table; did you mean 'tlb_flush2'?" in capsys.readouterr().err
    assert Measured().choose("all") == ()


def test_the_page_says_how_many_are_inside(run):
    assert main(["report", str(run)]) == 0
    assert "measured values lie inside their prediction intervals" in drawn(run)
    assert {"predicted.svg", "tlb-flush1.svg"} <= {path.name for path in (run / "plots").iterdir()}
    assert isinstance(sweep.load(run), pd.DataFrame)


def test_rows_whose_points_are_not_in_the_run_are_counted(run, tables, capsys):
    results, measured = tables
    short = results[results["machine"] != "skylake_56"]
    made = make_tables(short, measured, "validation")
    assert len(made["validation"]) == len(validation(results, measured)[0]) - 2 * 24
    (said,) = [note for note in next(iter(made.values())).attrs["notes"] if "measured rows" in note]
    assert said.startswith("48 of 164 measured rows have no prediction")
    assert make_tables(results, measured, "validation")["validation_summary"].attrs["notes"] == []


def test_a_draw_that_failed_at_one_of_two_points_is_left_out_at_both(tables):
    results, measured = tables
    some = (results["workload"] == "one_shooter") & (results["machine"] == "haswell")
    alone = some & (results["jobs"] == 1) & (results["draw"] == 3)
    assert alone.any()
    found, _ = validation(results[~alone], measured)
    assert len(found) == len(validation(results, measured)[0])
    assert found["predicted_50"].notna().all()


def test_what_a_damaged_run_keeps_is_refused():
    kept = as_json(published(), "all")
    kept["tables"][0]["rows"][0]["measured"] = "much"
    with pytest.raises(BadInput, match=r"tables\.0\.rows\.0\.measured='much': must be a"):
        from_json(kept, "run.json")
