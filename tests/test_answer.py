"""The answer to a grid's question: made from tables whose answer is known."""

import numpy as np
import pandas as pd

from sweep.__main__ import main
from sweep.tables.answer import answer
from sweep.tables.fabric import fabric
from sweep.tables.isolated import METRICS as OF_ISOLATED
from sweep.tables.words import banded, duration, factor, number, share

FITTED = {"xeon_8160"}
COST = "overhead_ns_per_operation"


def crossover(rows):
    columns = ["policy", "jobs_per_core", "passes", "cores", "said"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(machine="xeon_8160", workload="kernel_build", metric="ratio", largest=1.42)


def test_crossings_are_said_once_with_what_never_passes_and_a_mark_beyond_the_measurements():
    rows = [
        ("a", load, passes, at * load if at else np.nan, f"at {at}" if at else "never up to 512")
        for load in (0.5, 1.0)
        for passes, at in ((1.5, 60), (2.0, 200))
    ]
    rows += [("b", 1.0, passes, np.nan, "never up to 512") for passes in (1.1, 1.5, 2.0)]
    said = answer({"crossover": crossover(rows)}, FITTED, "crossover").text
    begins = "xeon_8160, -jcores (1 of 2 settings), relative to the system time without XPFO: "
    assert f"{begins}b (1.42x at most) stays below 1.5x up to 512* CPUs; " in said
    assert "; a exceeds 1.5x from 60 CPUs and 2x from 200*." in said
    assert "* No build was measured beyond 96 CPUs." in said
    assert "0.5" not in said


def test_a_band_stands_beside_its_value_and_an_open_end_is_never():
    row = {"cores": 206.4, "cores_05": 180.0, "cores_95": np.nan}
    assert banded(row, "cores", lambda value: "never" if np.isinf(value) else f"{value:.0f}") == "206 (180-never)"
    assert banded({"ratio": 1.444, "ratio_05": 1.31, "ratio_95": 1.62}, "ratio", factor) == "1.44x (1.31-1.62)"
    assert (number(24128.9), duration(3.94e6), duration(np.inf), factor(2.0)) == ("24,129", "3.94 ms", "for ever", "2x")


def test_a_front_names_its_policies_with_cost_and_window_and_no_other():
    points = {"a": (1.2, 7e7, True), "b": (1.9, 4e6, True), "c": (2.5, 5e6, False)}
    table = pd.DataFrame(
        [
            {"policy": name, "machine": "m", "ratio": ratio, "stale_window_p99_ns": window, "front": front, "cores": 8}
            for name, (ratio, window, front) in points.items()
        ]
    )
    said = answer({"pareto": table}, FITTED, "pareto")

    front = "no policy beats these in both cost and p99 stale window: "
    assert f"{front}a, 1.20x, window 70 ms; b, 1.90x, window 4 ms." in said.text
    assert "c, " not in said.text
    assert "No measurement on m was fitted: its costs are estimates, or another machine's." in said.text
    assert said.table is not None
    assert said.table["policy"].tolist() == ["a", "b", "c"]


def test_a_front_that_presupposes_what_no_kernel_has_says_so_and_what_is_best_without():
    points = [("xpfo_unmapped_pool", 1.04, 1e4, True), ("xpfo_deferred", 1.4, 7e7, False), ("xpfo", 25.0, 4e4, False)]
    table = pd.DataFrame(points, columns=["policy", "ratio", "stale_window_p99_ns", "front"])
    said = answer({"pareto": table.assign(machine="m", cores=8)}, FITTED, "pareto").sentences[0]
    assert "window: xpfo_unmapped_pool, 1.04x, window 10 us." in said
    assert "xpfo_unmapped_pool presupposes a kernel with a pool of pages outside its direct map" in said
    assert said.endswith("the cheapest policy that presupposes nothing is xpfo_deferred, 1.40x, window 70 ms.")


def test_a_loop_that_leaves_no_time_for_own_work_has_an_answer_without_an_elongation():
    points = [("a", 9e6, np.nan, 7e3, 34.5, 0.1725), ("b", 5e4, 2.5, 9e3, 200.0, 1.0)]
    columns = ["policy", COST, "elongation", "stale_window_p99_ns", "operations_per_s", "rate_met"]
    table = pd.DataFrame(points, columns=columns).assign(machine="m", front=True, cores=8)
    said = answer({"pareto": table}, FITTED, "pareto").sentences[0]
    assert "a, 9 ms of CPU time an operation, only 34.5 of 200 operations a second, window 7 us" in said
    assert "b, 50 us of CPU time an operation, which takes 2.5x as long, window 9 us" in said
    assert (factor(np.nan), share(np.nan)) == ("?", "?")


def test_a_long_front_says_how_many_it_leaves_out_and_moves_no_cursor():
    rows = [{"policy": f"p{k}\x1b", "ratio": 1.0 + k, "stale_window_p99_ns": 1e6 / (k + 1)} for k in range(9)]
    table = pd.DataFrame(rows).assign(machine="m", front=True, cores=8)
    said = answer({"pareto": table}, FITTED, "pareto").sentences[0]
    assert "p2\\x1b" in said
    assert "\x1b" not in said
    assert said.endswith("; 6 more.")


def test_a_ceiling_is_told_by_its_price_over_the_best():
    base = {"machine": "xeon_8160", "policy": "xpfo", "best_from": 1.0, "best_to": 8.0}
    mix, one = '{"1": 0.9, "512": 0.1}', '{"64": 1.0}'
    rows = [("w", mix, 0.3), ("v", mix, 2.0), ("w", one, 82.0), ("v", one, 8.0)]
    table = pd.DataFrame([base | {"workload": w, "range_pages": r, "price_of_33_pct": p} for w, r, p in rows])
    said = answer({"best_ceiling": table}, FITTED, "best_ceiling")
    best = "best: 1 to 8"
    assert said.sentences == [
        f"A ceiling of 33 costs at most 2 % more than the best ceiling on v (xpfo, {best}) and 0.3 % more than the "
        f"best ceiling on w (xpfo, {best}).",
        f"If all ranges have one length, a ceiling of 33 costs at most 82 % more than the best ceiling on w (xpfo, "
        f"ranges of 64 pages, {best}) and 8 % more than the best ceiling on v (xpfo, ranges of 64 pages, {best}).",
    ]
    assert said.table is not None
    assert said.table["price_of_33_pct"].tolist() == [82.0, 8.0, 2.0, 0.3]
    assert said.table["ranges"].tolist() == ["64", "64", "the workload's own", "the workload's own"]


def test_what_to_measure_next_is_named_with_its_bits_where_the_grid_asks_for_it():
    rows = [
        ("xpfo", 4, 33, 0.8, "ack_lines", 0.2),
        ("xpfo", 60, 512, 2.1, "handler_fixed_ns", 0.01),
        ("vt", 8, 33, 1.5, "x", 0.1),
    ]
    columns = ["policy", "jobs", "ceiling", "information_bits", "most_about", "others_share"]
    table = pd.DataFrame(rows, columns=columns).assign(machine="m", cores=96, point=7)
    said = answer({"summary": table, "next_experiment": table}, FITTED, "next_experiment")
    assert said.sentences == [
        "These measurements would narrow the costs most: xpfo on m, 96 CPUs, -j60, ceiling 512 (2.1 bits, most about "
        "handler_fixed_ns), vt on m, 96 CPUs, -j8 (1.5 bits, most about x) and xpfo on m, 96 CPUs, -j4 "
        "(0.8 bits, most "
        "about ack_lines).",
        "A measurement of xpfo on m, 96 CPUs, -j4 would narrow the predictions of all other points most, by 20 % of "
        "their variance.",
    ]
    assert said.table is not None
    assert said.table["information_bits"].tolist() == [2.1, 1.5, 0.8]
    assert "next" not in answer({"summary": table, "next_experiment": table}, FITTED, "mine").text


def test_a_run_ends_with_its_answer_on_the_terminal_and_on_its_page(tmp_path, capsys):
    axes = ["policy=[vanilla,xpfo,xpfo_deferred]", "cores=[2,4,8]", "machine=i5_3550", "replicas=1", "draws=0"]
    assert main(["+grid=cores", *axes, "jobs='1 x cores'", "runner=serial", f"out={tmp_path}/run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    written = (tmp_path / "run" / "tables" / "answer.txt").read_text()
    assert ", relative to the system time without XPFO: " in written
    assert " ".join(written.split()) in said
    assert written.splitlines()[0] in (tmp_path / "run" / "report.html").read_text()


def test_an_answer_that_there_is_none_of_is_refused(tmp_path, capsys):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "mine.yaml").write_text("# What?\nanswer: crosover\nmachine: i5_3550\npolicy: xpfo\njobs: 4\n")
    assert main(["--config-dir", str(tmp_path), "+grid=mine", f"out={tmp_path}/run"]) == 2
    assert "answer='crosover': no such answer; did you mean 'crossover'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_jobs_of_one_machine_are_told_without_a_place():
    rows = [("vanilla", 1, 1.0), ("a", 1, 2.0), ("a", 2, 3.0), ("a", 4, 4.5), ("vanilla", 4, 1.0)]
    table = pd.DataFrame(rows, columns=["policy", "jobs", "ratio"])
    assert answer({"summary": table}, FITTED, "jobs").sentences == ["-j1 to -j4: a from 2x to 4.5x."]


def test_few_points_are_told_by_what_they_cost_and_vanilla_is_not():
    columns = ["policy", "cores", "jobs", "system_time_s", "ratio", "overhead_share", COST, "operation_ns_total"]
    columns += ["operations_per_s", "rate_met"]
    nothing = (np.nan, np.nan)
    rows = [("a", 4.0, 4.0, 1234.0, 2.5, 0.5, *nothing, *nothing), ("vanilla", 4.0, 4.0, 500.0, 1.0, 0.0, *nothing * 2)]
    rows.append(("b", 8.0, 4.0, *nothing, 0.25, 3e3, 12e3, 9.0, np.nan))
    rows.append(("c", 8.0, 4.0, *nothing, 0.25, 3e3, 12e3, 200.0, 1.0))
    rows.append(("d", 8.0, 4.0, *nothing, 1.0, 3e3, 12e3, 34.5, 0.1725))
    said = answer({"summary": pd.DataFrame(rows, columns=columns)}, FITTED, "points").sentences
    assert said == [
        "a, 4 CPUs, -j4: 1,234 s, 2.5x vanilla's, b, 8 CPUs, -j4: 3 us of CPU time an operation, which takes 12 us, "
        "c, 8 CPUs, -j4: 25 % of CPU time and d, 8 CPUs, -j4: only 34.5 of 200 operations a second."
    ]


def test_points_of_one_policy_are_told_apart_by_what_differs():
    rows = [("xpfo_broadcast", 64.0, 64.0, repeats, 100.0 * repeats, 2.0 * repeats) for repeats in (1.0, 2.0)]
    table = pd.DataFrame(rows, columns=["policy", "cores", "jobs", "broadcast_repeats", "system_time_s", "ratio"])
    [said] = answer({"summary": table}, FITTED, "points").sentences
    assert "-j64, broadcast_repeats 1: 100 s, 2x" in said
    assert "-j64, broadcast_repeats 2: 200 s, 4x" in said


def test_a_fabric_is_told_by_where_it_saturates_and_what_it_does_with_all_senders():
    jobs, rates = [1, 2, 4, 8], {1: (500.0, 900.0, 1000.0, 300.0), 2: (400.0, 500.0, 450.0, 150.0)}
    base = {"policy": "xpfo_broadcast", "machine": "m", "workload": "w", "cores": 8, "flush_wait_ns": 9.0}
    rows = [
        base | {"jobs": j, "broadcast_repeats": times, "operations_per_s": rate}
        for times, each in rates.items()
        for j, rate in zip(jobs, each, strict=True)
    ]
    frame = pd.DataFrame(rows).assign(point=range(8), replica=0)
    frame.attrs["coordinates"] = {"names": ["jobs", "broadcast_repeats"], "follows": {}, "relative": {}}
    table = fabric(frame).set_index("broadcast_repeats")
    assert table["saturated_from"].to_dict() == {1: 2.0, 2: 2.0}  # nine tenths of the highest rate
    assert table["most_per_s"].to_dict() == {1: 1000.0, 2: 500.0}
    assert table["per_s"].to_dict() == {1: 300.0, 2: 150.0}
    said = answer({"fabric": table.reset_index()}, {"m"}, "fabric").sentences
    assert said[0] == "m saturates from 2 senders on, at 1,000 broadcasts a second."
    assert said[1] == "At 8 senders m reaches 300 a second and m with each broadcast sent 2 times reaches 150 a second."
    assert said[2] == "m with each broadcast sent 2 times saturates from 2 on, at 500."


def test_isolated_cpus_are_told_who_interrupts_them_and_what_the_rest_costs():
    columns = ["policy", *OF_ISOLATED]
    rows = [("a", 1000.0, 1e-3, 1500.0, 9e3, 2e4), ("b", 2.0, 1e-6, 800.0, 5e9, 1e4), ("c", 0.0, 0.0, 0.0, 2e12, 1e3)]
    table = pd.DataFrame(rows, columns=columns).assign(machine="m", cores=8, jobs=8, isolated=6, point=range(3))
    said = answer({"isolated": table}, {"m"}, "isolated").sentences
    assert said == [
        "m, 8 CPUs, -j8, 6 of them isolated: each of these is interrupted 1,000 times a second under a (0.1 % of its "
        "time, 1.5 us at most, p99 stale window 9 us).",
        "The others hardly interrupt them: b 2 times a second and c never. Their longest disturbance is 800 ns.",
        "Their cost is the p99 stale window on isolated CPUs: b 5 s and c 2,000 s.",
    ]


def test_a_policy_that_exceeds_a_value_in_some_cost_samples_alone_is_not_called_safe():
    rows = [("a", "ratio", passes, np.nan, early, np.nan, np.nan, "never up to 1024", 1.47) for passes, early in
            ((1.5, 472.0), (2.0, np.nan))]  # fmt: skip
    columns = ["policy", "metric", "passes", "cores", "cores_05", "cores_50", "cores_95", "said", "largest"]
    found = answer({"crossover": pd.DataFrame(rows, columns=columns).assign(machine="m")}, FITTED, "crossover")
    assert (
        "a (1.47x at most, above in some cost samples from 472 CPUs) stays below 1.5x up to 1024" in found.sentences[0]
    )
    assert found.table is not None
    assert found.table["1.5x"].tolist() == ["never up to 1024 (472-never)"]
    assert found.table["2x"].tolist() == ["never up to 1024"]
