"""Bands over cost samples, and what to measure next."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.inputs.likelihood import measured_again
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables import bands
from sweep.tables.next_experiment import next_experiment
from sweep.tables.replicas import half_width, t95
from sweep.tables.text import as_text

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

SMALL = ("window_events=64", "replicas=2", "precision=0.1")


@pytest.fixture(scope="module")
def run(sweep_in):
    """Two policies over cores and ceilings under eight draws."""
    return sweep_in(
        "+grid=smoke", "policy=[vanilla,xpfo]", "cores=[2,4]", "jobs=4", "ceiling=[0,33]", "draws=8", *SMALL
    )


@pytest.fixture(scope="module")
def results(run):
    return pd.read_parquet(run / "results.parquet")


def test_a_table_is_that_of_the_draw_that_stands_for_the_others_with_bands_beside(run, results):
    table = pd.read_csv(run / "tables" / "summary.csv")
    assert len(table) == 8
    row = table[table["policy"] == "xpfo"].iloc[0]
    mine = results[bands.setting(results) == row["point"]]
    assert mine["draw"].nunique() == 9
    by_draw = mine.groupby("draw")["added_s"].mean()
    assert row["added_s"] == pytest.approx(by_draw[0])
    wanted = by_draw[1:].quantile([0.05, 0.5, 0.95]).tolist()
    assert [row[f"added_s_{share}"] for share in ("05", "50", "95")] == pytest.approx(wanted)
    assert (mine["cores"].nunique(), mine["ceiling"].nunique(), mine["invlpg_ns"].nunique()) == (1, 1, 9)


def test_tables_that_are_no_means_are_made_for_every_draw(run, results):
    table = pd.read_csv(run / "tables" / "best_ceiling.csv")
    assert (table["best_system_time_s_05"] < table["best_system_time_s_95"]).all()
    each = []
    for draw in range(1, 9):
        some = results[(results["draw"] == draw) & (results["policy"] == "xpfo") & (results["cores"] == 4)]
        each.append(some.groupby("ceiling")["system_time_s"].mean().min())
    row = table[table["cores"] == 4].iloc[0]
    assert row["best_system_time_s_50"] == pytest.approx(np.quantile(each, 0.5, method="inverted_cdf"))
    crossing = pd.read_csv(run / "tables" / "crossover.csv")
    assert {"cores", "cores_05", "cores_50", "cores_95"} <= set(crossing.columns)


def test_a_band_of_a_crossing_that_most_draws_never_reach_is_open():
    values = np.array([10.0, 20.0, np.nan, np.nan])
    frame = pd.DataFrame({"point": range(5), "replica": 0, "draw": range(5), **dict.fromkeys(bands.METRICS, 0.0)})
    made = iter(values)
    table = bands._by_draw(
        lambda rows: pd.DataFrame({"cores": [next(made)]}), ("cores",), pd.DataFrame({"cores": [15.0]}), frame
    )
    assert table["cores_05"].tolist() == [10.0]
    assert np.isnan(table["cores_95"]).all()


# --- what to measure next, on results made up so that the answer is known


def made_up(draws=400, noise=0.0):
    """Point 0 shows `handler_fixed_ns`, point 1 the cost `refill_ns`, point 2 both; adding so much to vanilla."""
    random = np.random.default_rng(0)
    handler, refill = np.exp(0.5 * random.standard_normal((2, draws + 1)))
    rows = []
    for at, (policy, added) in enumerate((("a", handler), ("b", refill), ("c", handler * refill))):
        rows.append(
            pd.DataFrame(
                {"point": at * (draws + 1) + np.arange(draws + 1), "draw": np.arange(draws + 1), "replica": 0}
                | {"status": "ok"}
                | {"policy": policy, "machine": "m", "workload": "w", "costs": "literature", "cores": 96.0, "jobs": 4.0}
                | {"handler_fixed_ns": handler, "refill_ns": refill, "accounting": "tick", "base_system_s": 1.0}
                | {"added_s": 1000.0 * added, "system_time_s": 1.0 + 1000.0 * added}
            )
        )
    results = pd.concat(rows, ignore_index=True)
    for name in PARAMETER_COLUMNS:
        if name not in results:
            results[name] = 0.0
    return results


def test_an_experiment_tells_most_of_the_cost_that_it_shows():
    table = next_experiment(made_up(), {"m"}).set_index("policy")
    assert table["most_about"].to_dict() | {"c": ""} == {"a": "handler_fixed_ns", "b": "refill_ns", "c": ""}
    heard = 0.25 / (0.25 + 0.15**2 + 0.0275**2)  # of the variance of a measurement, signal
    assert table["its_share"]["a"] == pytest.approx(heard, abs=0.02)
    assert table["information_bits"]["a"] == pytest.approx(-0.5 * np.log2(1 - heard), rel=0.1)
    assert table["its_share"]["c"] == pytest.approx(0.5, abs=0.1)
    assert table["others_share"]["a"] == pytest.approx(0.25, abs=0.06)  # half of c, nothing of b


def test_what_flush_events_add_is_heard_less_on_a_large_base():
    table = next_experiment(made_up().assign(base_system_s=10_000.0), {"m"}).set_index("policy")
    run = 0.0275 * (10_000.0 + 1000.0) / 1000.0  # of the total from run to run, beside what is added
    assert table["its_share"]["a"] == pytest.approx(0.25 / (0.25 + 0.15**2 + run**2), abs=0.02)


def test_experiments_are_ranked_by_a_prediction_of_ones_choice():
    results = made_up()
    table = next_experiment(results, {"m"}, predict=0)
    assert table["policy"].tolist() == ["a", "c", "b"]
    assert table["predicted_share"].iloc[2] < 0.02
    with pytest.raises(BadInput, match="predict=5: no such point; there are 0, 401, 802"):
        next_experiment(results, {"m"}, predict=5)


def test_too_few_draws_are_refused_with_what_to_give(run, capsys):
    assert main(["next", str(run)]) == 2
    assert "give the sweep draws=64" in capsys.readouterr().err


GRID = """# What next?
answer: next_experiment
machine: i5_3550
policy: [vanilla, xpfo_deferred]
jobs: [1, 4]
"""


def test_a_run_with_enough_draws_says_what_to_measure_next(sweep_in, tmp_path):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "next.yaml").write_text(GRID)
    out = sweep_in("--config-dir", str(tmp_path), "+grid=next", "draws=32", *SMALL)
    table = pd.read_csv(out / "tables" / "next_experiment.csv")
    assert table["policy"].tolist() == ["xpfo_deferred", "xpfo_deferred"]
    assert (table["information_bits"] > 0).all()


def test_the_literatures_prediction_is_its_median_over_draws_and_the_fitted_ones_the_representative_draw(sweep_in):
    out = sweep_in(
        "+grid=point", "machine=i5_3550", "cores=4", "jobs=4", "policy=xpfo_deferred", "base_system_s=607.671",
        "costs=[calibrated,literature]", "draws=8", "replicas=1", "window_events=64", "runner=serial",
    )  # fmt: skip
    row = pd.read_csv(out / "tables" / "reproduction.csv").iloc[0]
    results = pd.read_parquet(out / "results.parquet")
    literature = results[(results["costs"] == "literature") & (results["draw"] > 0)]
    shown = measured_again(607.671, literature["added_s"].to_numpy(), 4)
    assert row["literature_s"] == pytest.approx(np.median(shown))
    single = results[(results["costs"] == "calibrated") & (results["draw"] == 0)]
    assert row["calibrated_s"] == pytest.approx(single["system_time_s"].mean())


def test_numbers_of_one_column_share_a_form():
    lines = as_text(pd.DataFrame({"cores": [96.0, 256.0, np.nan], "ratio": [1.0, 1.44, 256.0]})).splitlines()
    assert [line.split() for line in lines[1:]] == [["96", "1.00"], ["256", "1.44"], ["-", "256.00"]]


def test_a_band_stands_beside_its_value_in_the_terminal():
    table = pd.DataFrame({"policy": ["a", "b"], "ratio": [1.44, 2.0], "ratio_05": [1.31, 2.0], "ratio_50": [1.5, 2.0],
                          "ratio_95": [1.62, 2.0]})  # fmt: skip
    lines = as_text(table).splitlines()
    assert lines[0].split() == ["policy", "ratio"]
    assert [" ".join(line.split()) for line in lines[1:]] == ["a 1.44 (1.31-1.62)", "b 2.00"]


def test_a_half_width_is_students_over_the_root_of_the_number():
    values = pd.Series([1.0, 2.0, 3.0])
    assert half_width(values) == pytest.approx(4.303 / np.sqrt(3.0))
    rows = pd.DataFrame({"point": [0, 0, 0, 1, 1], "t": [1.0, 2.0, 3.0, 5.0, 7.0]})
    found = half_width(rows.groupby("point")["t"])
    assert found.tolist() == pytest.approx([4.303 / np.sqrt(3.0), 12.706 * np.sqrt(2.0) / np.sqrt(2.0)])
    assert t95(range(1, 60)) == pytest.approx(stats.t.ppf(0.975, range(1, 60)), rel=0.01)
