"""A workload from counts: recorded files of a real build, a real command, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sweep.__main__ import main
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from sweep.measure.counters import read_counters, read_perf, read_stat, seen_of_snapshots
from sweep.measure.workload import workload

DATA = Path(__file__).parent / "data"  # around `make -j2` of a C library of 36 files, others busy beside it


def recorded(name):
    return [str(DATA / f"{name}_{when}.txt") for when in ("before", "after")]


def texts(name):
    return tuple(Path(path).read_text() for path in recorded(name))


def test_recorded_files_give_what_the_build_asked_for():
    perf = (DATA / "perf_stat.csv").read_text()
    seen = seen_of_snapshots(texts("vmstat"), texts("stat"), texts("interrupts"), perf)
    assert seen["faults"] == 250377
    assert seen["migrations"] == 54
    assert seen["user_s"] == pytest.approx(22.769, abs=0.001)
    assert seen["elapsed_s"] == pytest.approx(44.67, abs=0.01)
    assert seen["cpus"] == 2
    machine = seen_of_snapshots(texts("vmstat"), texts("stat"), None, None)
    assert machine["faults"] > seen["faults"]  # of everybody
    assert machine["elapsed_s"] == pytest.approx(seen["elapsed_s"], rel=0.05)


def test_what_perf_could_not_count_is_left_out():
    assert "cycles" not in read_perf((DATA / "perf_stat.csv").read_text(), "perf")


def test_every_number_says_how_it_is_known():
    seen = seen_of_snapshots(texts("vmstat"), texts("stat"), texts("interrupts"), (DATA / "perf_stat.csv").read_text())
    for name, quantity in workload(seen, 2).items():
        assert quantity["source"].split(":")[0] in ("measured", "estimated", "assumed"), name


def test_the_more_is_counted_the_less_is_assumed():
    little = workload(seen_of_snapshots(texts("vmstat"), texts("stat"), None, None), 2)
    perf = (DATA / "perf_stat.csv").read_text()
    much = workload(seen_of_snapshots(texts("vmstat"), texts("stat"), texts("interrupts"), perf), 2)
    for name in ("migrations_per_s", "kernel_entries_per_s"):
        assert little[name]["source"].startswith("assumed")
        assert much[name]["source"].startswith("measured")


def test_a_profiled_workload_is_simulated(tmp_path):
    files = [part for name in ("vmstat", "stat", "interrupts") for part in (f"--{name}", *recorded(name))]
    perf = ["--perf", str(DATA / "perf_stat.csv")]
    assert main(["profile", "--name", "library", "--config-dir", str(tmp_path), *files, *perf]) == 0
    entry = catalog([tmp_path, conf_dir()])["workload"]["library"]
    assert entry.quantities["kunmap_events"].central == pytest.approx(250377)
    run = ["--config-dir", str(tmp_path), "+grid=smoke", "workload=library", f"out={tmp_path / 'run'}", "quiet=true"]
    assert main(run) == 0


def test_a_real_command_is_profiled(tmp_path):
    script = "sum(range(10**6)); bytearray(1 << 24)"
    assert main(["profile", "--name", "loop", "--config-dir", str(tmp_path), "--", "python3", "-c", script]) == 0
    text = (tmp_path / "workload" / "loop.yaml").read_text()
    content = yaml.safe_load(text)
    assert content["user_s"]["central"] > 0
    assert content["kunmap_events"]["central"] >= 4096  # the pages of the array at least
    assert "# kernel: Linux" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a command after --, or recorded files"),
        (["--name", "My Build", "--", "true"], "--name='My Build': must be small letters"),
        (["--jobs", "0", "--", "true"], "--jobs=0: must be at least 1"),
        (["--", "no-such-command-here"], "'no-such-command-here': no such command"),
        (["--", "false"], "'false' ended with exit code 1: nothing is written"),
        (["--vmstat", "/nowhere", "/nowhere"], "No such file or directory: '/nowhere'"),
        (["--vmstat", *recorded("stat")], "user_s is not known"),
        (["--vmstat", *recorded("vmstat")], "user_s is not known: give --stat"),
    ],
)
def test_wrong_input_ends_with_two_and_a_sentence(tmp_path, capsys, arguments, message):
    assert main(["profile", "--config-dir", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("workload/*"))


def test_texts_of_another_kind_are_refused():
    from sweep.errors import BadInput

    for read in (read_counters, read_stat, read_perf):
        with pytest.raises(BadInput, match=r"as in /proc|as `perf"):
            read("nothing of the kind\n", "here")
