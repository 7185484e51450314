"""The command line: what a user types, and what is said when it is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sweep.__main__ import main


def command(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "sweep", *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip


def test_smoke_runs_and_prints_the_table_in_a_hundred_columns(tmp_path):
    done = command("+grid=smoke", "runner=serial", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "xpfo_deferred" in done.stdout
    folder = tmp_path / done.stdout.splitlines()[-1]
    assert folder.parts[-2] == "smoke"
    assert len(folder.name) == 8
    assert {path.name for path in folder.iterdir()} >= {"run.json", "parts", "results.parquet", "tables"}
    again = command("+grid=smoke", "runner=serial", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert "already done" in again.stderr


def test_the_patch_shows_its_six_rows(sweep_in):
    folder = sweep_in("+grid=patch", "replicas=2", "draws=8", "window_events=640", "precision=0.05")
    table = pd.read_csv(folder / "tables" / "reproduction.csv")
    assert (
        list(table.columns)
        == (
            "machine policy cores jobs measured_s calibrated_s calibrated_lo_s calibrated_hi_s calibrated_error_pct "
            "literature_s literature_lo_s literature_hi_s literature_error_pct measured_ratio calibrated_ratio "
            "literature_ratio beyond_measured"
        ).split()
    )
    rows = list(zip(table["machine"], table["policy"], table["measured_s"], strict=True))
    assert rows == [
        ("xeon_8160", "vanilla", 950.966),
        ("xeon_8160", "xpfo", 25073.169),
        ("xeon_8160", "xpfo_deferred", 1372.874),
        ("i5_3550", "vanilla", 607.671),
        ("i5_3550", "xpfo", 1588.646),
        ("i5_3550", "xpfo_deferred", 803.989),
    ]
    for name in ("calibrated", "literature"):
        assert table[f"{name}_lo_s"].le(table[f"{name}_s"]).all()
        assert table[f"{name}_s"].le(table[f"{name}_hi_s"]).all()
        error = 100 * (table[f"{name}_s"] / table["measured_s"] - 1)
        assert table[f"{name}_error_pct"].tolist() == pytest.approx(error.tolist())
    width = table.set_index(["machine", "policy"])
    width = (width["calibrated_hi_s"] - width["calibrated_lo_s"]) / (
        width["literature_hi_s"] - width["literature_lo_s"]
    )
    assert width["xeon_8160", "xpfo"] < 0.8  # the data tell


def test_a_list_on_the_command_line_is_an_axis(sweep_in):
    folder = sweep_in("+grid=smoke", "policy=[xpfo]", "jobs=[1,2,4]", "refill_ns=77")
    results = pd.read_parquet(folder / "results.parquet")
    assert sorted(set(results["jobs"])) == [1, 2, 4]
    assert set(results["policy"]) == {"xpfo"}
    assert set(results["refill_ns"]) == {77.0}


def test_a_users_folder_comes_before_ours(tmp_path, sweep_in):
    (tmp_path / "grid").mkdir()
    (tmp_path / "machine").mkdir()
    (tmp_path / "grid" / "mine.yaml").write_text("# Is mine slower?\nmachine: [slow, i5_3550]\npolicy: xpfo\njobs: 4\n")
    (tmp_path / "machine" / "slow.yaml").write_text("defaults: [i5_3550, _self_]\ninvlpg_ns: 850\n")
    folder = sweep_in("--config-dir", str(tmp_path), "+grid=mine", "window_events=320", "replicas=1")
    results = pd.read_parquet(folder / "results.parquet").set_index("machine")
    assert results["invlpg_ns"]["slow"] == 850.0  # as given, at whatever clock the fitted costs have
    assert results["invlpg_ns"]["i5_3550"] == pytest.approx(85.0, rel=0.1)
    assert results["invlpg_ns"]["i5_3550"] != 85.0
    assert results["system_time_s"]["slow"] > results["system_time_s"]["i5_3550"]


BAD = [
    ([], "no grid given"),
    (["+grid=nope"], "no such grid"),
    (["grid=smoke"], "write `+grid=smoke`"),
    (["-m", "+grid=smoke"], "unknown option '-m'"),
    (["--frob"], "unknown option '--frob'"),
    (["+grid=smoke", "corse=4"], "did you mean 'cores'"),
    (["+grid=smoke", "+sed=3"], "did you mean 'seed'"),
    (["+grid=smoke", "policy=xpof"], "did you mean 'xpfo'"),
    (["+grid=smoke", "machine=i5_3555"], "did you mean 'i5_3550'"),
    (["+grid=smoke", "workload=kernel"], "did you mean 'kernel_build'"),
    (["+grid=smoke", "runner=rai"], "runner/rai"),
    (["+grid=smoke", "runner.kind=fast"], "auto, serial or ray"),
    (["+grid=smoke", "runner=ray", "runner.address=http://127.0.0.1:8265"], "Jobs API"),
    (["+grid=smoke", "cores=[]"], "at least one value"),
    (["+grid=smoke", "cores=0"], "cores=0: must be from 1"),
    (["+grid=smoke", "cores=2.5"], "whole number"),
    (["+grid=smoke", "cores=4,8"], "must be a list or a range in place of Hydra's sweep, like `cores=[4,8]`"),
    (["+grid=smoke", "jobs=0"], "jobs=0: must be at least 1"),
    (["+grid=smoke", "ceiling=-1"], "ceiling=-1"),
    (["+grid=smoke", "refill_ns=-1"], "refill_ns=-1"),
    (["+grid=smoke", "refill_ns=nan"], "finite"),
    (["+grid=smoke", "refill_ns=inf"], "finite"),
    (["+grid=smoke", "range_pages={1:0}"], "not all be zero"),
    (["+grid=smoke", "range_pages={1:-1}"], "weights finite and at least 0"),
    (["+grid=smoke", "serial_share=1.5"], "from 0 to 1"),
    (["+grid=smoke", "apic=flat", "cores=16"], "at most 8 CPUs"),
    (["+grid=smoke", "sockets=3"], "must divide cores=4"),
    (["+grid=smoke", "threads_per_core=3"], "must divide cores=4"),
    (["+grid=smoke", "chunk_s=0"], "chunk_s=0"),
    (["+grid=smoke", "cores"], "must be KEY=VALUE"),
    (["--config-dir", "no/such/folder", "+grid=smoke"], "no such folder"),
    (["+grid=smoke", "jobs=1", "jobs=4"], "'jobs=1' and 'jobs=4': jobs is given twice"),
    (["+grid=smoke", "+grid=jobs"], "'+grid=smoke' and '+grid=jobs': grid is given twice"),
    (
        ["+grid=smoke", "jobs=range(0,3000000000)"],
        "must be a list or a range in place of Hydra's sweep, like `jobs={from:1,to:9,steps:3}`",
    ),
    (["+grid=smoke", "jobs=[1,choice(2,4)]"], "must be a list or a range in place of Hydra's sweep"),
    (["+grid=smoke", "precision=0,01"], "a decimal number has a point"),
    (["+grid=smoke", "+range_pages=[{1: 1},{1: 2}]"], "twice; equal points would count"),
    (["+grid=exposure", "grid.blocks.0.policy='2 x cores'"], "a policy's name is letters"),
    (
        ["+grid=point", "workload=one_shooter", "policy=membarrier", "alloc_per_kunmap=2"],
        "needs kunmap_events, which is not",
    ),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(arguments) or "nothing" for arguments, _ in BAD])
def test_bad_input_is_named_and_nothing_is_written(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    assert main(["+grid=smoke", f"out={blocker}/run"]) == 2
    assert f"out='{blocker}/run'" in capsys.readouterr().err


def test_bad_input_exits_with_two_and_starts_no_ray(tmp_path):
    done = command("+grid=smoke", "runner=ray", "cores=0", cwd=tmp_path, RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 2
    assert "cores=0" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_the_grids_with_their_questions(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "+grid=patch" in shown
    assert "examples:" in shown


def test_ray_and_heavy_parts_are_not_imported_where_not_used(tmp_path):
    script = (
        "import sys; from sweep.__main__ import main;"
        "code = main(['+grid=smoke', 'runner=serial', 'quiet=true', 'engine=vectorized']);"  # numba imports scipy
        "print(code, [m for m in ('ray', 'scipy', 'matplotlib', 'plotly', 'pyarrow.dataset') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stdout.strip() == "0 []", done.stdout + done.stderr


def test_what_is_no_regular_file_is_written_into_and_stays_what_it_is(tmp_path, sweep_in):
    a, b = (str(sweep_in("+grid=smoke", "policy=xpfo_deferred", f"seed={seed}", "window_events=64")) for seed in (1, 2))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    with subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True) as reader:
        assert main(["compare", a, b, "--csv", str(tmp_path / "pipe")]) == 0
        assert reader.communicate(timeout=20)[0].startswith("policy,")
    assert (tmp_path / "pipe").is_fifo()
    assert main(["compare", a, b, "--csv", str(tmp_path / "link.csv")]) == 0
    assert main(["compare", a, b, "--csv", f"{tmp_path}/folder/"]) == 2
    assert not (tmp_path / "folder").exists()
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("policy,")


def test_what_was_asked_for_and_cannot_be_printed_is_said(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sweep", "list", "policies"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "sweep: standard output: no space left\n")


def test_a_working_folder_that_is_gone_is_what_is_wrong(tmp_path):
    (tmp_path / "gone").mkdir()
    script = f"rmdir {tmp_path}/gone; {sys.executable} -P -m sweep +grid=smoke dry_run=true"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path / "gone", capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == "sweep: the working folder does not exist any more: change to another\n"


def test_a_dry_run_of_a_policy_whose_points_fail_says_so(tmp_path, capsys):
    (tmp_path / "bad.py").write_text(
        "from sim.policy import Local, Policy, every_event\n\n\ndef events(build):\n"
        "    if (build.kunmap_events > 1e7).any():\n        raise ValueError('always')\n"
        "    return every_event(build)\n\n\n"
        "POLICY = Policy(local=Local.FIRST, events=events)\n"
    )
    assert main(["+grid=smoke", "policy=bad", f"policy_path={tmp_path}", "dry_run=true"]) == 0
    assert "no pilot, because a point fails: ValueError: always" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["locks_per_operation=2"],
            "locks_per_operation=2.0 needs a closed loop, and workload kernel_build is a build",
        ),
        (["isolated=5"], "isolated=5: must be at most 0, the busy CPUs that make no flush events; give senders"),
        (["policy=xpfo_in_kernel", "preempted_share=0.1"], "preempted_share: no engine models preempted vCPUs beside"),
        (["policy=xpfo_in_kernel", "kernel_entries_per_s=0"], "kernel_entries_per_s=0: must be above 0"),
        (["policy=xpfo_broadcast", "workload=tlb_flush2"], "no engine models locks beside Targets.HARDWARE"),
        (["policy=vanilla", "workload=lock2", "engine=vectorized"], "does not model locks_per_operation above 0"),
    ],
)
def test_what_stands_beside_a_flush_is_refused_where_no_engine_models_it(words, said, tmp_path, capsys):
    assert main(["+grid=point", "machine=epyc_milan_2s", *words, f"out={tmp_path / 'run'}"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
