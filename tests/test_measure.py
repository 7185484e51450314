"""The closed loop: what a file of curves may say, what the kernel's files mean, and the real thing, briefly."""

import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
import yaml

from sweep.__main__ import main
from sweep.command.verbs import measure as own_machine
from sweep.errors import BadInput, Unmeasurable
from sweep.inputs import likelihood
from sweep.inputs.conf import conf_dir
from sweep.inputs.reader import question_of
from sweep.measure.experiment import Call, Point, read_experiment
from sweep.measure.interrupts import read_interrupts
from sweep.measure.loop import helper, measure_point
from sweep.measure.machine import (
    Facts,
    delivery_of_guest,
    hypervisor,
    read_kernel_config,
)
from sweep.measure.measured import read_measured
from sweep.measure.topology import topology_here

DATA = Path(__file__).parent / "data"
DEFAULT = conf_dir() / "measure" / "default.yaml"


def changed(tmp_path, change):
    content = yaml.safe_load(DEFAULT.read_text())
    change(content)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", sorted((conf_dir() / "measure").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_opens_on_small_and_large_machines(path):
    for cpus in (2, 4, 96):
        points = read_experiment(path).points(cpus)
        assert question_of(path).endswith("?")
        assert all(point.callers + point.spinners in (point.callers, cpus) for point in points)
        assert len(set(points)) == len(points)


def test_all_callers_means_every_cpu_and_larger_numbers_are_left_out():
    callers = {cpus: {point.callers for point in read_experiment(DEFAULT).points(cpus)} for cpus in (2, 8)}
    assert callers == {2: {1, 2}, 8: {1, 2, 4, 8}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(secnds=1), "unknown key 'secnds'; did you mean 'seconds'?"),
        (lambda c: c.pop("passes"), "passes: not given"),
        (lambda c: c.update(seconds=0), "seconds=0: must be a number from 0.001 to 60"),
        (lambda c: c["curves"][0].update(call="mlock"), "call='mlock': must be membarrier, dontneed"),
        (lambda c: c["curves"][0].update(others="asleep"), "others='asleep': must be idle or busy"),
        (lambda c: c["curves"][3].update(pages=[0]), "pages=0: must be a whole number from 1 to 2048"),
        (lambda c: c["curves"][0].update(callers="1"), "callers='1': must be a list"),
        (lambda c: c["curves"][0].update(callers=[True]), "callers.0=True: must be a whole number"),
    ],
)
def test_a_wrong_experiment_is_named_by_key_value_and_what_is_allowed(tmp_path, change, message):
    with pytest.raises(BadInput, match=r"measure/mine") as raised:
        read_experiment(changed(tmp_path, change))
    assert message in str(raised.value)


def test_a_wrong_word_on_the_command_line_ends_with_two(tmp_path, capsys):
    assert main(["measure", "defualt", "--config-dir", str(tmp_path)]) == 2
    assert "did you mean 'default'?" in capsys.readouterr().err
    if len(os.sched_getaffinity(0)) > 1:
        assert main(["measure", "--measured", str(tmp_path / "none.csv"), "--config-dir", str(tmp_path)]) == 2


def test_without_a_compiler_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(Unmeasurable, match="no C compiler"):
        helper()


def brief(point):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU only: there is no other CPU to interrupt")
    try:
        for seed in range(20):  # whoever else runs here may hold the CPUs for a while
            seen = measure_point(helper(), point, 0.1, seed, cpus)
            if seen["call_count"] >= 5:
                return seen
    except Unmeasurable as error:
        pytest.skip(str(error))
    pytest.skip("others held the CPUs all the time")


@pytest.mark.parametrize("call", get_args(Call))
def test_the_real_loop_measures_every_call(call):
    seen = brief(Point(call, 1, 1, 5000, 0 if call == "membarrier" else 8))
    assert 100 < seen["call_p50_ns"] <= seen["call_p99_ns"]
    assert seen["think_ns"] > 1000
    assert seen["calls_made"] >= seen["call_count"]


def test_telling_another_cpu_takes_longer_than_telling_nobody():
    alone, told = brief(Point("membarrier", 1, 0, 5000, 0)), brief(Point("membarrier", 1, 1, 5000, 0))
    assert told["call_p50_ns"] > 1.5 * alone["call_p50_ns"]


def test_recorded_files_of_the_kernel_are_read():
    assert read_kernel_config((DATA / "kernel_config.txt").read_text()) == ("tick", 250)
    rows = read_interrupts((DATA / "interrupts_after.txt").read_text())
    assert {"CAL", "TLB", "LOC", "RES"} <= set(rows)
    assert sum(rows["CAL"]) > sum(rows["TLB"]) > 0


def test_a_hypervisor_is_seen_by_its_name_or_by_the_flag():
    cpuinfo = (DATA / "cpuinfo.txt").read_text()
    assert hypervisor(cpuinfo, "", "kvm") == "kvm"
    assert hypervisor(cpuinfo, "xen\n", "") == "xen"
    assert "flag" in hypervisor(cpuinfo, "", "none")
    assert hypervisor(cpuinfo.replace(" hypervisor ", " "), "", "none") is None


@pytest.mark.parametrize(
    ("log", "delivery"),
    [
        ("[0.0] Hypervisor detected: KVM\n[0.1] KVM setup pv IPIs\n", "hypercall"),
        ("[0.3] kvm-guest: APIC: send_IPI_mask() replaced with kvm_send_ipi_mask()\n", "hypercall"),
        ("[0.3] kvm-guest: setup PV IPIs\n", "hypercall"),
        ("[0.0] Hypervisor detected: KVM\n[0.1] kvm-guest: setup PV sched yield\n", "exit"),
        ("[99.0] the beginning has been overwritten\n", None),
        ("", None),
    ],
)
def test_a_guests_kernel_log_says_how_its_interrupts_leave(log, delivery):
    assert delivery_of_guest(log) == delivery


def test_a_machine_with_two_kinds_of_core_says_so():
    alike = Facts("a processor", topology_here(range(24), Path("none")), "Linux 6.1.0 x86_64", None, {}, None, None)
    assert set(replace(alike, hybrid=True).lines()) - set(alike.lines()) == {
        "The cores are of two kinds, and the model has one: costs are for both together."
    }


def test_the_user_says_how_interrupts_leave_a_guest_and_no_other_machine(tmp_path, capsys, monkeypatch):
    bare = Facts("a processor", topology_here((0, 1), Path("none")), "Linux 6.1.0 x86_64", None, {}, None, None)
    monkeypatch.setattr(own_machine, "facts", lambda: bare)
    monkeypatch.setattr(own_machine.os, "sched_getaffinity", lambda _: {0, 1})
    words = ["measure", "--config-dir", str(tmp_path / "own"), "--no-fit", "--delivery"]
    assert main([*words, "exit"]) == 2
    assert "--delivery=exit: no hypervisor was found" in capsys.readouterr().err
    assert main([*words, "post"]) == 2
    assert "--delivery: invalid choice: 'post'" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()
    unknown = replace(bare, hypervisor="kvm", delivery=None)
    assert any("give --delivery" in line for line in unknown.lines())


def test_an_experiment_is_read_as_every_other_file(tmp_path):
    text = DEFAULT.read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("think_ns: [1000]", "think_ns: [1e3]").replace("pages: [1, 2, 4", "pages: [1e0, 2, 4"))
    assert read_experiment(path).points(2) == read_experiment(DEFAULT).points(2)
    path.write_text(text.replace("passes: 5", "passes: 1\npasses: 2"))
    with pytest.raises(BadInput, match="measure/mine, line 4: 'passes' is given twice"):
        read_experiment(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("passes: 5", "passes: 1.5", "passes=1.5: must be a whole number from 1 to 1000"),
        ("passes: 5", "passes: .inf", "passes=inf: must be a whole number"),
        ("passes: 5", "passes: null", "passes=null: must be a whole number"),
        ("passes: 5", f"passes: {'9' * 5000}", "a number of 5000 digits"),
        ("seconds: 0.1", "seconds: 0,1", "seconds='0,1': must be a number"),
        ("noise: 0.05", "noise: a lot", "fit.noise='a lot': must be a number from 0.001 to 1"),
        ("prior: xeon_8160", "prior: 17", "fit.prior=17: must be text"),
        ("low: 60, central: 180", "low: 600, central: 180", "needs low < central < high, and has 600, 180, 600"),
        ("think_ns: [1000]}", "think_ns: []}", "curves.0.think_ns=[]"),
        ("curves:", "curves: &c\n  - *c", "refers to itself"),
        ("# callers", "\t- {", "line"),
        ("page_ns: {low: 15", "pgae_ns: {low: 15", "unknown key 'fit.calls.dontneed.pgae_ns'; did you mean 'page_ns'?"),
    ],
)
def test_a_wrong_value_of_an_experiment_is_one_sentence_and_nothing_is_made(tmp_path, capsys, old, new, message):
    (tmp_path / "measure").mkdir()
    path = tmp_path / "measure" / "mine.yaml"
    text = DEFAULT.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert main(["measure", "mine", "--config-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sweep: measure/mine")
    assert message in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "measure", path]


RECORDED = (DATA / "measured.csv").read_text()
FIRST, SECOND = RECORDED.splitlines()[:2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'call'"),
        ("call;callers\nmembarrier;1\n", "has no column 'call'"),
        (FIRST.replace("measured_p50_ns", "p50") + "\n" + SECOND, "has no column 'measured_p50_ns'"),
        (FIRST, "has no point"),
        (FIRST + "\n" + SECOND.replace("membarrier", "mlock"), "line 2: call='mlock': must be membarrier"),
        (FIRST + "\n" + SECOND.replace("membarrier,1", "membarrier,one"), "line 2: callers='one': must be a whole"),
        (FIRST + "\n" + SECOND.replace("membarrier,1", "membarrier,1.5"), "line 2: callers='1.5': must be a whole"),
        (FIRST + "\n" + SECOND.replace("membarrier,1", "membarrier,900"), "900 callers and 0 others: this machine has"),
        (FIRST + "\n" + SECOND.replace("211.0", "-211"), "measured_p50_ns='-211': must be a number from 0.001"),
        (FIRST + "\n" + SECOND.replace("211.0", "nan"), "measured_p50_ns='nan': must be a number"),
        (FIRST + "\n" + SECOND.replace("211.0", ""), "measured_p50_ns='': must be a number"),
        (FIRST + "\n" + SECOND.replace("211.0", "1e999"), "measured_p50_ns='1e999': must be a number"),
        (FIRST + "\n" + SECOND.replace("1380.5,0", "1380.5,8"), "pages=8: membarrier has none"),
        (FIRST + "\n" + SECOND + ",7,8", "line 2: must have 16 fields"),
        (FIRST + "\n" + SECOND[:30], "line 2: must have 16 fields"),
        (FIRST + ",call\n" + SECOND + ",munmap", "has two columns of one name"),
        (FIRST + "\n\x00" + SECOND, "line 2"),
        ("\xff\xfe", "must be UTF-8 text"),
        (FIRST + '\n"' + "x" * 200_000, "must be CSV"),
    ],
)
def test_a_table_of_another_form_is_one_sentence_and_nothing_is_made(tmp_path, capsys, text, message):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU only: there is no other CPU to interrupt")
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode("latin-1"))
    assert main(["measure", "--config-dir", str(tmp_path / "own"), "--measured", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sweep: --measured={path}")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "own").exists()


def test_a_recorded_table_is_read_as_it_was_written():
    found = read_measured(DATA / "measured.csv", 2)
    wanted = pd.read_csv(DATA / "measured.csv")
    for name in found:
        assert found[name].tolist() == pytest.approx(wanted[name].tolist(), nan_ok=True) or name == "call"
    assert found["call"].tolist() == wanted["call"].tolist()


def test_measured_files_have_the_door_for_their_likelihood_too(monkeypatch, tmp_path):
    assert likelihood.spread() == likelihood.Spread(0.0275, 0.15, 96, 0.22)
    (tmp_path / "likelihood.yaml").write_text((conf_dir() / "likelihood.yaml").read_text().replace("0.15", "much"))
    monkeypatch.setattr(likelihood, "conf_dir", lambda: tmp_path)
    likelihood.spread.cache_clear()
    try:
        with pytest.raises(BadInput, match=r"likelihood.yaml, line 3: discrepancy.central='much': must be"):
            likelihood.spread()
    finally:
        likelihood.spread.cache_clear()
