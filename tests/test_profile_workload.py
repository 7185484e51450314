"""A workload from counts: recorded files of a real build, a real command, and what is said when it is wrong."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from sweep.measure.counters import read_counters, read_stat, seen_of_snapshots
from sweep.measure.interrupts import between, read_interrupts
from sweep.measure.perf import read_perf
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
        (["--", "false"], "'false' ended with exit code 1: no file was written"),
        (["--vmstat", "nowhere", "nowhere"], "No such file or directory: 'nowhere'"),
        (["--vmstat", *recorded("stat")], "user_s is not known"),
        (["--vmstat", *recorded("vmstat")], "user_s is not known: give --stat"),
    ],
)
def test_wrong_input_ends_with_two_and_a_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", "--config-dir", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("workload/*"))


def test_texts_of_another_kind_are_refused():
    from sweep.errors import BadInput

    for read in (read_counters, read_stat, read_perf):
        with pytest.raises(BadInput, match=r"as in /proc|as `perf"):
            read("nothing of the kind\n", "here")


SECRET = ["python3", "-c", "pass", "--token=s3cret", "two words", "first\ntitle: taken", "\x1b[2J", "\u2028x", "\udcff"]


@pytest.mark.parametrize("keep", [False, True])
def test_a_command_is_a_comment_on_one_line_and_keeps_its_secrets(tmp_path, keep):
    option = ["--keep-arguments"] if keep else []
    assert main(["profile", "--config-dir", str(tmp_path), *option, "--", *SECRET]) == 0
    path = tmp_path / "workload" / "mine.yaml"
    text = path.read_text()
    assert yaml.safe_load(text)["title"] == "mine"
    assert ("s3cret" in text) == keep
    assert ("'two words'" in text) == keep
    head = [line for line in text.splitlines() if "python3" in line]
    assert len(head) == 1
    assert head[0].startswith("# `python3")
    assert text.isprintable() or {each for each in text if not each.isprintable()} == {"\n"}
    if not keep:
        assert "8 arguments left out (--keep-arguments)" in head[0]


def test_a_folder_that_cannot_be_written_is_said_before_the_command_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("text")
    given = ["profile", "--config-dir", str(tmp_path / "file" / "own"), "--", "touch", str(tmp_path / "ran")]
    assert main(given) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_spoilt_records_are_a_sentence_or_a_file_that_can_be_read(tmp_path, capsys):
    random = np.random.default_rng(2)
    names = ["vmstat", "stat", "interrupts"]
    whole = {name: [Path(path).read_bytes() for path in recorded(name)] for name in names}
    perf = (DATA / "perf_stat.csv").read_bytes()
    read = 0
    for turn in range(150):
        files = []
        for name in names:
            files.append(f"--{name}")
            for number, content in enumerate(whole[name]):
                path = tmp_path / f"{name}{number}"
                path.write_bytes(spoilt(content, random) if random.random() < 0.4 else content)
                files.append(str(path))
        (tmp_path / "perf").write_bytes(spoilt(perf, random) if turn % 2 else perf)
        code = main(["profile", "--config-dir", str(tmp_path / "own"), *files, "--perf", str(tmp_path / "perf")])
        assert code in (0, 2)
        said = capsys.readouterr().err
        assert said.count("\n") == (1 if code else 0)
        if code == 0:
            read += 1
            content = yaml.safe_load((tmp_path / "own" / "workload" / "mine.yaml").read_text())
            assert "nan" not in str(content).lower().replace("penance", "")
    assert 0 < read < 150


def spoilt(content, random):
    """Cut, a byte changed, a line twice or left out, digits made many."""
    lines = content.splitlines(keepends=True)
    at, kind = int(random.integers(len(lines))), int(random.integers(6))
    if kind == 0:
        return content[: int(random.integers(len(content)))]
    if kind == 1:
        place = int(random.integers(len(content)))
        return content[:place] + bytes([int(random.integers(256))]) + content[place + 1 :]
    if kind == 2:
        return b"".join(lines[:at] + lines[at + 1 :])
    if kind == 3:
        return b"".join([*lines[: at + 1], *lines[at:]])
    if kind == 4:
        return content.replace(b"1", b"1" * 30)
    return b"".join(lines[::-1])


def test_what_went_down_is_said_so(capsys, tmp_path):
    files = [f"--{name}" if part == 0 else recorded(name)[2 - part] for name in ("vmstat", "stat") for part in range(3)]
    assert main(["profile", "--config-dir", str(tmp_path), *files]) == 2
    assert "went down: give BEFORE, then AFTER" in capsys.readouterr().err


PERF = """5000000,,page-faults,100,100.00,,
400000,,context-switches,100,100.00,,
320000000000,ns,user_time,100,100.00,,
60000000000,ns,system_time,100,100.00,,
"""


def test_counts_of_user_mode_alone_are_no_counts_of_switches():
    assert read_perf(PERF.replace("context-switches", "context-switches:u"), "perf").keys() == {
        "page-faults", "user_time", "system_time",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("core", "atom", "switches"),
    [
        ("300000,,{},90,100.00,,", "100000,,{},10,100.00,,", 400_000),
        ("300000,,{},90,100.00,,", "<not counted>,,{},0,100.00,,", None),
        ("300000,,{},90,100.00,,", "<not supported>,,{},0,100.00,,", None),
        ("300000,,{},90,75.00,,", "100000,,{},30,25.00,,", None),  # each is what it would be on its kind of core alone
        ("300000,,{},90,100.00,,", "", None),
    ],
)
def test_a_hybrid_processor_has_switched_as_often_as_all_its_kinds_of_core(core, atom, switches):
    lines = [core.format("cpu_core/context-switches/"), atom.format("cpu_atom/context-switches/")]
    perf = PERF.replace("400000,,context-switches,100,100.00,,", "\n".join(lines))
    assert read_perf(perf, "perf").get("context-switches") == switches
    of_all = seen_of_snapshots(texts("vmstat"), texts("stat"), None, None)["switches"]
    assert seen_of_snapshots(texts("vmstat"), texts("stat"), None, perf)["switches"] == (switches or of_all)


def test_a_count_that_perf_extrapolates_is_not_measured():
    assert "page-faults" not in read_perf(PERF.replace("page-faults,100,100.00", "page-faults,60,60.00"), "perf")


@pytest.mark.parametrize(
    ("perf", "said"),
    [
        (PERF + PERF, "page-faults is counted twice"),
        ("1.000100000,2500000,,page-faults,1,100.00,,\n", "perf stat -I"),
        ("12,,branch-misses,1,100.00,,\n", "no used event in it; used are cpu-migrations"),
    ],
)
def test_what_perf_printed_otherwise_is_refused(perf, said):
    with pytest.raises(BadInput, match=said):
        seen_of_snapshots(texts("vmstat"), texts("stat"), texts("interrupts"), perf)


INTERRUPTS = "           CPU0       CPU1\n LOC: {} {}  Local timer interrupts\n CAL: 5 {}  Function call interrupts\n"


def test_a_count_of_interrupts_that_went_round_is_no_negative_one():
    before, after = INTERRUPTS.format(2**32 - 1000, 10, 7), INTERRUPTS.format(24_000, 20, 9)
    old, new = read_interrupts(before), read_interrupts(after)
    assert between(old, new, "f") == {"LOC": [25_000, 10], "CAL": [0, 2]}
    with pytest.raises(BadInput, match="row LOC went down"):
        between(new, old, "f")


def test_an_empty_file_of_interrupts_is_said_and_counts_nothing():
    seen = seen_of_snapshots(texts("vmstat"), texts("stat"), ("", ""), PERF + "70,,raw_syscalls:sys_enter,1,100.00,,\n")
    assert "interrupts" not in seen
    assert workload(seen, 2)["kernel_entries_per_s"]["source"].endswith("page faults, no interrupts")


def test_a_machine_whose_first_cpu_is_offline_has_a_whole_stat():
    before, after = (text.replace("cpu0 ", "cpu7 ") for text in texts("stat"))
    assert seen_of_snapshots(texts("vmstat"), (before, after), None, None)["cpus"] == 2


def test_stolen_time_that_was_set_back_is_not_known():
    before, after = texts("stat")
    with_steal = before.replace(re.search(r"^cpu .*$", before, re.M)[0], _stolen(before, 1_000_000))
    assert np.isnan(seen_of_snapshots(texts("vmstat"), (with_steal, after), None, None)["steal_s"])


def _stolen(stat, ticks):
    """The first line of a /proc/stat with so much stolen time."""
    words = re.search(r"^cpu .*$", stat, re.M)[0].split()
    return " ".join(["cpu ", *words[1:8], str(ticks), *words[9:]])
