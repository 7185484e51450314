"""A fit: its likelihood, its weights, the ranks that show it is right, and the whole command on a small design."""

import html
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import kstest, norm

from sweep.__main__ import main
from sweep.calibrate import emulator
from sweep.calibrate import tables as fitted
from sweep.calibrate.representative import representative_draw
from sweep.calibrate.rows import Pool, fits_of, left_out, read_by, rows_to_fit
from sweep.calibrate.tables import RANKS, TRUTHS, ranks
from sweep.command.compose import compose
from sweep.errors import BadInput
from sweep.inputs import likelihood
from sweep.inputs.catalog import QUANTITIES, Quantity, catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.costs import literature, priors
from sweep.inputs.likelihood import log_likelihood, measured_again, measured_once
from sweep.inputs.prior import sobol, values_at
from sweep.inputs.weights import crps, effective_size, median_error, pareto_k, quantiles, resample

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

DRAWS = 4096  # of the toy
ACCOUNTING = Quantity(central="tick", alternative="irq_time", share=0.6)  # six of ten draws are of the first
SMALL = (
    "grid.fit.draws=512", "grid.fit.candidates=65536", "grid.fit.draws_a_fit=2000", "grid.fit.keep=64",
    "window_events=256", "warmup_events=384", "precision=0.1",
)  # fmt: skip


# --- the likelihood


def test_the_likelihood_of_all_possible_measurements_adds_up_to_one():
    log_measured = np.linspace(np.log(3000), np.log(12_000), 4_001)
    density = [np.exp(log_likelihood(np.exp(at), 800.0, np.array([5000.0]), 96))[0] for at in log_measured]
    assert np.trapezoid(density, log_measured) == pytest.approx(1.0, abs=1e-3)


def test_the_likelihood_is_that_of_measuring_again():
    shown = measured_again(800.0, np.full(4096, 400.0), 4).ravel()
    edges = np.log([1050, 1150, 1250, 1350])
    expected = np.histogram(np.log(shown), edges)[0] / len(shown)
    for low, high, share in zip(edges, edges[1:], expected, strict=False):
        at = np.linspace(low, high, 401)
        density = [np.exp(log_likelihood(np.exp(each), 800.0, np.array([400.0]), 4))[0] for each in at]
        assert np.trapezoid(density, at) == pytest.approx(share, abs=0.003)


def test_the_models_error_is_wider_beyond_the_largest_machine_measured():
    spread = likelihood.spread()
    assert spread.discrepancy(4) == spread.discrepancy(96) == 0.15
    assert spread.discrepancy(192) == pytest.approx(0.30)
    assert spread.run == pytest.approx(np.log(950.966 / 915.183) / np.sqrt(2), rel=0.03)


# --- weights


def test_pareto_k_tells_weights_that_can_be_trusted_from_those_that_cannot():
    random = np.random.default_rng(0)
    assert pareto_k(random.pareto(2.5, 4000) + 1) == pytest.approx(1 / 2.5, abs=0.15)
    assert pareto_k(random.pareto(1.0, 4000) + 1) > 0.7
    assert pareto_k(np.ones(1000)) < 0
    assert effective_size(np.ones(1000)) == pytest.approx(1000)
    assert effective_size(np.r_[np.ones(10), np.zeros(90)]) == pytest.approx(10)


def test_crps_of_a_normal_sample_is_the_closed_form():
    z = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    wanted = 3.0 * (0.7 * (2 * norm.cdf(0.7) - 1) + 2 * norm.pdf(0.7) - 1 / np.sqrt(np.pi))
    assert crps(10 + 3 * z, np.ones(len(z)), 10 + 3 * 0.7) == pytest.approx(wanted, rel=1e-3)
    weights = np.exp(z)  # tilts the sample to N(1, 1)
    assert crps(z, weights, 1.0) == pytest.approx(2 * norm.pdf(0) - 1 / np.sqrt(np.pi), rel=5e-3)
    assert quantiles(z, weights).tolist() == pytest.approx([1 - 1.6449, 1.0, 1 + 1.6449], abs=0.01)


def test_resampling_keeps_the_weighted_mean_and_its_error_is_as_said():
    random = np.random.default_rng(1)
    z, medians = random.standard_normal(4000), []
    weights = np.exp(0.5 * z)
    assert z[resample(weights, 2000, 0)].mean() == pytest.approx(0.5, abs=0.1)
    for _ in range(300):
        sample = random.standard_normal(800)
        medians.append(quantiles(sample, np.ones(800), (0.5,))[0])
    assert median_error(sample, np.ones(800)) == pytest.approx(np.std(medians), rel=0.4)


# --- a toy model in place of the simulation: added seconds are a product of powers of the costs


def published_rows():
    return rows_to_fit(compose(["+grid=calibrate"], [conf_dir()]).composition, "published")


@pytest.fixture(scope="module")
def toy():
    entries = catalog([conf_dir()])
    rows = [row for row in published_rows() if row.metric == "system_time_s"]
    machines, workload = entries["machine"], entries["workload"]["kernel_build"]
    known = priors([machines[name] for name in ("xeon_8160", "i5_3550")], [workload])
    values = literature(known, DRAWS, 5).values[1:]
    keys, added = list(known), []
    for row in rows:
        core = machines[row.machine].quantities["flush_fixed_ns"].owner
        powers = {"kernel_build/kunmap_events": 1.0, f"{core}/flush_fixed_ns": 0.4}
        if row.policy == "xpfo":
            powers[f"{core}/handler_fixed_ns"] = 0.4
        logs = sum(power * np.log(values[:, keys.index(key)]) for key, power in powers.items())
        added.append(np.exp(logs - logs.mean()) * (row.measured - row.base))
    read = [read_by(known, row, machines[row.machine], workload) for row in rows]
    return Pool(known, values, np.array(added), np.ones(DRAWS), DRAWS, rows, read)


def test_the_emulator_knows_a_product_of_powers_exactly(toy):
    columns = np.arange(len(toy.known))[:20]
    names = np.array([quantity.alternative is not None for quantity in toy.known.values()])
    added = np.exp(0.3 * np.log(toy.values[:, 6]) - np.log(toy.values[:, 8])) * np.where(toy.values[:, 0] > 0, 2.0, 1.0)
    made = emulator.fit(toy.values, columns, names, added)
    assert made.explained > 0.999
    assert made.log_added(toy.values[:50]) == pytest.approx(np.log(added[:50]), abs=0.02)


def test_ranks_of_known_parameters_are_uniform(toy):
    table = ranks(toy)
    assert table[[f"rank_{at}" for at in range(RANKS)]].sum(axis=1).eq(TRUTHS).all()
    assert kstest(table["p"], "uniform").pvalue > 0.001
    assert table["p"].min() > 1e-4 / len(table)


def test_ranks_show_a_likelihood_that_is_wrong(toy, monkeypatch):
    def wrong(measured, base, added, cores):
        return log_likelihood(measured, base, 1.3 * added, cores)

    monkeypatch.setattr(fitted, "log_likelihood", wrong)
    table = ranks(toy).set_index(["parameter", "machine"])
    assert table.loc[("kunmap_events", "kernel_build"), "p"] < 1e-6
    assert table.loc[("tick_hz", "any"), "p"] > 1e-3  # which no row reads


def test_a_fit_finds_the_parameters_of_data_made_from_the_model(toy):
    """Ninety-percent intervals of the predicted times hold the truth nine times in ten."""
    random = np.random.default_rng(2)
    inside = []
    for truth in random.permutation(DRAWS)[:200]:
        log = np.zeros(DRAWS)
        for at, row in enumerate(toy.rows):
            shown = measured_once(row.base, toy.added[at, [truth]], row.cores, random)[0]
            log += log_likelihood(shown, row.base, toy.added[at], row.cores)
        weights = np.exp(log - log.max())
        weights[truth] = 0
        low, _, high = quantiles(np.log(toy.added[3]), weights)
        inside.append(low <= np.log(toy.added[3, truth]) <= high)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.07)


def test_shift_and_shrinkage_are_those_of_a_normal_prior_and_a_likelihood_as_wide():
    """Two normals of standard deviation 0.5, the second 0.6 above: together half the variance, and half the way."""
    end = np.exp(0.5 * norm.ppf(0.95))
    known = {
        "m/handler_fixed_ns": Quantity(central=100.0, low=100.0 / end, high=100.0 * end),
        "any/accounting": ACCOUNTING,
    }
    values = values_at(known, sobol(2, DRAWS, 0))
    weights = np.exp(-0.5 * (np.log(values[:, 0] / 100.0) / 0.5 - 1.2) ** 2) * np.where(values[:, 1] == 1.0, 2.0, 1.0)
    pool = Pool(known, values, np.empty((0, DRAWS)), np.ones(DRAWS), DRAWS, [], [])
    prior, fit = (fitted.Fit("", each / each.sum(), 400.0, 0.0) for each in (np.ones(DRAWS), weights))
    table = fitted.posterior(pool, prior, fit).set_index("parameter")
    cost = table.loc["handler_fixed_ns"]
    assert (cost["shift"], cost["shrinkage"]) == pytest.approx((0.6, 0.5), abs=0.02)
    sd = norm.ppf(0.95) * 0.5 * np.sqrt([1.0, 0.5])
    for when, mean, half in zip(("prior", "posterior"), (0.0, 0.3), sd, strict=True):
        found = cost[[f"{when}_{share}" for share in ("05", "50", "95")]].astype(float)
        assert np.log(found / 100.0).tolist() == pytest.approx([mean - half, mean, mean + half], abs=0.02)
    tick = table.loc["accounting"]  # of 0.6 and 0.4 the second counts twice
    assert (tick["prior_50"], tick["posterior_50"]) == pytest.approx((0.4, 0.8 / 1.4), abs=0.01)
    assert tick["error"] == pytest.approx(np.sqrt(0.8 * 0.6 / 1.4**2 / 400.0), rel=0.02)
    assert (cost["unit"], tick["unit"]) == ("ns", "probability of irq_time")
    assert set(table["verdict"]) == {"moved by the data"}
    assert set(fitted.posterior(pool, prior, prior)["verdict"]) == {"still its prior"}


@pytest.mark.parametrize(
    ("shift", "shrinkage", "moved"),
    [(0.0, 0.2, True), (0.0, 0.1, False), (0.3, 0.1, True), (-0.3, 0.1, True), (0.2, 0.1, False)],
)
def test_a_quarter_of_a_deviation_or_a_seventh_of_the_variance_is_moved_by_the_data(shift, shrinkage, moved):
    """A prior of standard deviation 0.5 and a likelihood that takes so much of its variance, and its mean so far."""
    end = np.exp(0.5 * norm.ppf(0.95))
    known = {"m/handler_fixed_ns": Quantity(central=100.0, low=100.0 / end, high=100.0 * end)}
    values = values_at(known, sobol(1, DRAWS, 0))
    scores = np.log(values[:, 0] / 100.0) / 0.5
    weights = np.exp(-0.5 * (scores - shift / shrinkage) ** 2 * shrinkage / (1 - shrinkage))
    pool = Pool(known, values, np.empty((0, DRAWS)), np.ones(DRAWS), DRAWS, [], [])
    prior, fit = (fitted.Fit("", each / each.sum(), 400.0, 0.0) for each in (np.ones(DRAWS), weights))
    row = fitted.posterior(pool, prior, fit).iloc[0]
    assert (row["shift"], row["shrinkage"]) == pytest.approx((shift, shrinkage), abs=0.02)
    assert row["verdict"] == ("moved by the data" if moved else "still its prior")


def test_total_indices_of_a_product_of_powers_are_shares_of_its_variance(toy):
    at, keys = next(at for at, row in enumerate(toy.rows) if row.policy == "xpfo"), list(toy.known)
    row, added = toy.rows[at], toy.added[at]
    core = {"xeon_8160": "skylake core", "i5_3550": "ivy_bridge core"}[row.machine]
    powers = {"kernel_build/kunmap_events": 1.0, f"{core}/flush_fixed_ns": 0.4, f"{core}/handler_fixed_ns": 0.4}
    columns = np.array([keys.index(name) for name in powers])
    made = emulator.fit(toy.values, columns, np.zeros(len(keys), dtype=bool), added)
    table = fitted.total_indices(replace(toy, rows=[row]), [made]).set_index("parameter")["total_index"]
    for name, power in powers.items():
        share = power**2 * np.log(toy.values[:, keys.index(name)]).var() / np.log(added).var()
        assert table[name.partition("/")[2]] == pytest.approx(share, abs=0.02)


def test_the_representative_draw_takes_every_row_to_its_median(toy):
    moved = [list(toy.known).index(name) for name in toy.known if name.endswith(("/kunmap_events", "_ns"))]
    logs = np.log(toy.values[:, moved])
    powers = np.linalg.lstsq(np.c_[np.ones(DRAWS), logs], np.log(toy.added).T, rcond=None)[0]
    weights = np.exp(0.5 * (np.log(toy.added[3]) - np.log(toy.added[3]).mean()))
    fit = fitted.Fit("", weights / weights.sum(), 1000.0, 0.0)
    single = representative_draw(toy, fit, lambda values: np.exp(np.r_[1.0, np.log(values[moved])] @ powers))
    medians = [quantiles(each, fit.weights, (0.5,))[0] for each in toy.added]
    assert np.exp(np.r_[1.0, np.log(single[moved])] @ powers) == pytest.approx(medians, rel=1e-3)
    whole = [at for at, name in enumerate(toy.known) if QUANTITIES[name.partition("/")[2]].whole]
    assert whole
    assert (single[whole] == np.rint(single[whole])).all()


def test_a_flush_events_own_length_is_fitted_by_the_same_law_as_what_a_build_adds():
    added = np.geomspace(20_000.0, 400_000.0, 2001)
    found = log_likelihood(92_800.0, 0.0, added, 80)
    error = np.hypot(likelihood.spread().run, likelihood.spread().discrepancy(80))  # both act on the whole value
    expected = norm.logpdf(np.log(92_800.0), np.log(added), error)
    assert found == pytest.approx(expected, abs=1e-3)


def test_costs_that_a_guest_takes_over_move_its_rows_and_its_own_move_no_others():
    rows, machines = published_rows(), catalog([conf_dir()])["machine"]
    workloads = catalog([conf_dir()])["workload"]
    names = sorted({row.machine for row in rows})
    known = priors(
        [machines[name] for name in names], [workloads["kernel_build"]], {"exit_ns", "deliver_ns", "wake_ns"}
    )
    keys = np.array(list(known))
    read = [read_by(known, row, machines[row.machine], workloads[row.point["workload"]]) for row in rows]
    for row, columns in zip(rows, read, strict=True):
        moving = set(keys[columns])
        guest = row.machine == "skylake_guest_80"
        assert ({f"skylake_guest_80/{name}" for name in ("exit_ns", "deliver_ns", "wake_ns")} <= moving) == guest
        assert ("skylake core/handler_fixed_ns" in moving) == (
            guest or (row.machine, row.policy) == ("xeon_8160", "xpfo")
        )
        assert ("kernel_build/kunmap_events" in moving) == (not guest)
    predicted = left_out(rows, read)
    guests = np.array([row.machine == "skylake_guest_80" for row in rows])
    desktop = np.array([row.machine == "i5_3550" for row in rows])
    shared = {"any/queue_lines", "any/csd_lines", "any/request_lines", "any/ack_lines"}  # the kernel's, everywhere
    for row, columns in zip(rows, read, strict=True):
        assert (shared <= set(keys[columns])) == (row.policy != "xpfo_deferred")
    assert predicted["i5_3550"][guests].all()  # by what its own broadcasts say of them
    assert predicted["skylake_guest_80"][desktop].any()
    assert predicted["xeon_8160"][guests].all()
    assert predicted["literature alone"].all()
    assert predicted["all rows"].all()


# --- the whole command


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """The published system times as a user's own, fitted without the calls in a guest: few draws do."""
    folder = tmp_path_factory.mktemp("builds")
    text = (conf_dir() / "measurements.csv").read_text()
    (folder / "measurements.csv").write_text(text.replace("\nXPFO", "\nagain XPFO"))
    return ["--config-dir", str(folder), "+grid=calibrate", "grid.fit.rows=own"]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, builds):
    out = tmp_path_factory.mktemp("calibrated")
    assert main([*builds, *SMALL, "runner=serial", f"out={out}", "quiet=true", "report=true"]) == 0
    return out


def test_calls_in_a_guest_are_fitted_and_move_the_costs_of_its_hypervisor(tmp_path):
    """Measured on eight vCPUs by reasoning: what the priors' medians say, but with exits of 2400 ns."""
    text = (conf_dir() / "validation" / "guest_broadcast.yaml").read_text()
    (tmp_path / "validation").mkdir()
    table = yaml.safe_load(text)
    table["point"]["cores"] = 8
    hypercall, exits = 13_000.0, 13_000.0 + 6 * 2400.0  # seven exits in place of one
    table["rows"] = [
        {"delivery": delivery, "apic": apic, "measured": measured, "role": "fitted"}
        for delivery, apic, measured in (
            ("exit", "physical", exits), ("hypercall", "cluster", hypercall), ("hypercall", "physical", hypercall),
        )
    ]  # fmt: skip
    (tmp_path / "validation" / "guest_broadcast.yaml").write_text(yaml.safe_dump(table))
    out = tmp_path / "out"
    words = ["grid.fit.rows=own", "runner=serial", f"out={out}", "quiet=true", "report=true"]
    assert main(["--config-dir", str(tmp_path), "+grid=calibrate", *SMALL, *words]) == 0
    found = pd.read_csv(out / "tables" / "validation.csv")
    assert found["fitted_on"].tolist() == ["literature alone"] * 3 + ["all rows"] * 3
    assert set(found["unit"]) == {"ns"}
    fitted = found[found["fitted_on"] == "all rows"]
    assert fitted["inside_90"].all()
    assert fitted["crps"].sum() < found["crps"].sum() - fitted["crps"].sum()
    moved = pd.read_csv(out / "tables" / "posterior.csv").set_index(["parameter", "machine"])
    exit_ns = moved.loc[("exit_ns", "skylake_guest_80")]
    assert exit_ns["prior_50"] < exit_ns["posterior_50"] < 2400.0
    stamp = yaml.safe_load((out / "costs" / "calibrated.yaml").read_text())
    assert "smp_call_function_many on skylake_guest_80" in stamp["fitted_on"][0]
    assert stamp["fitted_on"][1].endswith(": 13000 ns")
    costs = pd.read_parquet(out / "costs" / "calibrated.parquet")
    assert {"skylake_guest_80/exit_ns", "skylake_guest_80/deliver_ns", "skylake_guest_80/wake_ns"} <= set(costs)
    assert (costs.iloc[0] > 0).sum() >= len(costs.columns) - 2  # two hypercalls alike do not spoil draw 0


def test_one_command_predicts_what_it_left_out_better_than_literature_alone(calibrated):
    table = pd.read_csv(calibrated / "tables" / "validation.csv")
    wanted = (
        "fitted_on machine policy setting metric unit measured predicted_05 predicted_50 predicted_95 error_pct "
        "inside_90 crps crps_prior"
    )
    assert list(table.columns)[:14] == wanted.split()
    assert table.groupby("fitted_on").size().to_dict() == {
        "literature alone": 4, "sync rows": 2, "xeon_8160": 2, "i5_3550": 2, "all rows": 4,
    }  # fmt: skip
    assert table["inside_90"].all()
    fits = table[table["fitted_on"] != "literature alone"]
    assert (fits["crps"] < 1.1 * fits["crps_prior"]).all()  # a small design: some are only as good
    assert fits["crps"].sum() < 0.8 * fits["crps_prior"].sum()
    assert (table["effective_draws"] >= 500).all()
    assert (fits["pareto_k"] <= 0.7).all()


def test_a_calibration_ends_with_how_well_it_predicts_what_it_left_out(calibrated):
    table = pd.read_csv(calibrated / "tables" / "validation.csv")
    said = (calibrated / "tables" / "answer.txt").read_text().splitlines()
    left_out = table[~table["fitted_on"].isin(["literature alone", "all rows"])]
    worst = left_out.loc[left_out["error_pct"].abs().idxmax()]
    assert said[0].startswith("Of the rows left out of a fit, 6 of 6 lie inside their 90 % prediction intervals")
    assert f"{worst['error_pct']:+.1f} % ({worst['policy']} on {worst['machine']}" in said[0]
    posterior = pd.read_csv(calibrated / "tables" / "posterior.csv")
    moved = (posterior["verdict"] == "moved by the data").sum()
    assert said[2].startswith(f"The data moved {moved} of {len(posterior)} uncertain quantities: ")
    assert html.escape(said[2]) in (calibrated / "report.html").read_text()


def test_the_posterior_says_what_the_data_moved(calibrated):
    table = pd.read_csv(calibrated / "tables" / "posterior.csv").set_index(["parameter", "machine"])
    flush = table.loc[("flush_fixed_ns", "ivy_bridge core")]  # the desktop's deferred build is quicker than its prior
    assert flush["verdict"] == "moved by the data"
    assert flush["posterior_50"] < flush["prior_50"]
    for unread in ("kernel_entries_per_s", "ownership_change_share", "pcp_refill_share"):
        assert table.loc[(unread, "kernel_build"), "verdict"] == "still its prior"
    assert table["error"].notna().all()
    indices = pd.read_csv(calibrated / "tables" / "total_indices.csv")
    largest = indices.loc[indices.groupby(["machine", "policy"])["total_index"].idxmax()]
    assert "accounting" in largest[largest["machine"] == "xeon_8160"]["parameter"].tolist()


def test_the_costs_that_come_out_are_used_by_name(calibrated, tmp_path):
    arguments = [
        "--config-dir",
        str(calibrated),
        "+grid=smoke",
        "costs=calibrated",
        "draws=4",
        "runner=serial",
        "quiet=true",
    ]
    assert main([*arguments, f"out={tmp_path}"]) == 0
    results = pd.read_parquet(tmp_path / "results.parquet")
    assert set(results["draw"]) == {0, 1, 2, 3, 4}
    kept = pd.read_parquet(calibrated / "costs" / "calibrated.parquet")
    one = results[(results["draw"] == 2)].iloc[0]
    assert one["refill_ns"] == kept["ivy_bridge core/refill_ns"].iloc[2]
    assert (calibrated / "report.html").stat().st_size > 300_000  # Vega and all tables


def test_a_design_that_is_too_small_is_refused_with_what_to_do(tmp_path, builds, capsys):
    few = [each for each in SMALL if "draws_a_fit" not in each] + ["grid.fit.draws_a_fit=64"]
    assert main([*builds, *few, "runner=serial", f"out={tmp_path}", "quiet=true"]) == 2
    said = capsys.readouterr().err
    assert "effective draws" in said
    assert "give more grid.fit.draws" in said
    assert not (tmp_path / "tables").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("grid.fit.draws=3", "fit.draws=3: must be at least 64"),
        ("grid.fit.candidates=128", "fit.candidates=128: must be above fit.draws=4096"),
        ("+grid.fit.drawz=128", "unknown key 'fit.drawz'; did you mean 'draws'?"),
        ("grid.fit.name=literature", "must be a plain word, and not literature"),
        ("draws=64", "draws=: not allowed in a calibration"),
        ("delivery=apic", "delivery=: not allowed in a calibration, whose points are the measured rows"),
        ("machine=i5_3550", "machine=: not allowed in a calibration, whose points are the measured rows"),
    ],
)
def test_bad_settings_of_a_fit_are_named(override, said, capsys):
    assert main(["+grid=calibrate", override]) == 2
    assert said in capsys.readouterr().err


# --- what is committed


def test_the_committed_costs_give_the_published_times_within_five_percent(sweep_in):
    """Simulated here and now, so that it fails when the model moves away from the fit."""
    folder = sweep_in("+grid=patch", "costs=calibrated", "draws=0", "replicas=1")
    table = pd.read_csv(folder / "tables" / "reproduction.csv")
    table = table[table["policy"] != "vanilla"]
    assert len(table) == 4
    assert (table["calibrated_error_pct"].abs() < 5).all()


def test_own_rows_are_fitted_beside_the_published_ones_or_instead(tmp_path):
    head = (conf_dir() / "measurements.csv").read_text().splitlines()[0]
    (tmp_path / "measurements.csv").write_text(f"{head}\nme,i5_3550,kernel_build,4,2,xpfo,607.671,1200,yes,mine\n")
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "mine.yaml").write_text(
        "{title: mine, source: me, metric: flush_wait_ns, point: {machine: xeon_8160, workload: one_shooter, "
        "policy: mm_shootdown, senders: 1}, rows: [{jobs: 9, measured: 2500, role: fitted}, {jobs: 2, measured: 900}]}"
    )
    request = compose(["+grid=calibrate"], [tmp_path, conf_dir()])

    def rows(which):
        return rows_to_fit(request.composition, which)

    assert len(rows("all")) == 10
    assert len(rows("published")) == 8
    assert [row.measured for row in rows("own")] == [1200.0, 2500.0]
    assert [(row.base, row.cores, row.unit) for row in rows("own")] == [(607.671, 4, "s"), (0.0, 96.0, "ns")]
    assert list(fits_of(rows("all"))) == ["all rows", "sync rows", "i5_3550", "xeon_8160", "skylake_guest_80"]
    assert list(fits_of(rows("own"))) == ["all rows", "sync rows", "i5_3550", "xeon_8160"]
    alone = compose(["+grid=calibrate"], [conf_dir()])
    with pytest.raises(BadInput, match=r"fit\.rows=own: needs a row with fitted=yes"):
        rows_to_fit(alone.composition, "own")


def test_run_to_run_spread_is_no_error_of_the_model():
    shown = measured_again(800.0, np.zeros(4096), 4)
    assert np.log(shown / 800.0).std() == pytest.approx(likelihood.spread().run, rel=0.02)
    above = np.random.default_rng(4).normal(0.0, 0.1, 400)
    apart = [np.array([each]) for each in above]
    assert likelihood.estimate_discrepancy([(each, 0.0) for each in apart]) == pytest.approx(0.1, rel=0.1)
    assert likelihood.estimate_discrepancy([(each, 0.1) for each in apart]) < 0.04
