"""The closed loop: what a file of curves may say, what the kernel's files mean, and the real thing, briefly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from sweep.__main__ import main
from sweep.errors import BadInput, Unmeasurable
from sweep.inputs.conf import conf_dir
from sweep.measure.experiment import CALLS, Point, read_experiment
from sweep.measure.loop import helper, measure_point
from sweep.measure.machine import (
    hypervisor,
    read_cpuinfo,
    read_interrupts,
    read_kernel_config,
    since_kernel,
)

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
        experiment = read_experiment(path, cpus)
        assert experiment.title.endswith("?")
        assert all(point.callers + point.spinners in (point.callers, cpus) for point in experiment.points)
        assert len(set(experiment.points)) == len(experiment.points)


def test_all_callers_means_every_cpu_and_larger_numbers_are_left_out():
    callers = {cpus: {point.callers for point in read_experiment(DEFAULT, cpus).points} for cpus in (2, 8)}
    assert callers == {2: {1, 2}, 8: {1, 2, 8}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(secnds=1), "unknown key 'secnds'; did you mean 'seconds'?"),
        (lambda c: c.pop("passes"), "passes: not given"),
        (lambda c: c.update(seconds=0), "seconds=0: must be a number from 0.001 to 60"),
        (lambda c: c["curves"][0].update(call="mlock"), "call='mlock': must be one of membarrier"),
        (lambda c: c["curves"][0].update(others="asleep"), "others='asleep': must be idle or busy"),
        (lambda c: c["curves"][3].update(pages=[0]), "pages=0: must be a whole number from 1 to 2048"),
        (lambda c: c["curves"][0].update(callers="1"), "callers='1': must be a list"),
        (lambda c: c["curves"][0].update(callers=[True]), "callers=True: must be a whole number"),
    ],
)
def test_a_wrong_experiment_is_named_by_key_value_and_what_is_allowed(tmp_path, change, message):
    with pytest.raises(BadInput, match=r"measure/mine") as raised:
        read_experiment(changed(tmp_path, change), 2)
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
        pytest.skip("one CPU only: there is nobody to interrupt")
    try:
        for seed in range(20):  # whoever else runs here may hold the CPUs for a while
            seen = measure_point(helper(), point, 0.1, seed, cpus)
            if seen["call_count"] >= 5:
                return seen
    except Unmeasurable as error:
        pytest.skip(str(error))
    pytest.skip("others held the CPUs all the time")


@pytest.mark.parametrize("call", CALLS)
def test_the_real_loop_measures_every_call(call):
    seen = brief(Point(call, 1, 1, 5000, 0 if call == "membarrier" else 8))
    assert 100 < seen["call_p50_ns"] <= seen["call_p99_ns"]
    assert seen["think_ns"] > 1000
    assert seen["calls_made"] >= seen["call_count"]


def test_telling_another_cpu_takes_longer_than_telling_nobody():
    alone, told = brief(Point("membarrier", 1, 0, 5000, 0)), brief(Point("membarrier", 1, 1, 5000, 0))
    assert told["call_p50_ns"] > 1.5 * alone["call_p50_ns"]


def test_recorded_files_of_the_kernel_are_read():
    cpuinfo = (DATA / "cpuinfo.txt").read_text()
    assert read_cpuinfo(cpuinfo) == ("Intel(R) Xeon(R) Processor", 1, 1)
    assert read_kernel_config((DATA / "kernel_config.txt").read_text()) == ("tick", 250)
    rows = read_interrupts((DATA / "interrupts_after.txt").read_text())
    assert {"CAL", "TLB", "LOC", "RES"} <= set(rows)
    assert rows["CAL"] > rows["TLB"] > 0


def test_a_hypervisor_is_seen_by_its_name_or_by_the_flag():
    cpuinfo = (DATA / "cpuinfo.txt").read_text()
    assert hypervisor(cpuinfo, "", "kvm") == "kvm"
    assert hypervisor(cpuinfo, "xen\n", "") == "xen"
    assert "flag" in hypervisor(cpuinfo, "", "none")
    assert hypervisor(cpuinfo.replace(" hypervisor ", " "), "", "none") is None


def test_kernel_releases_compare_by_number():
    assert since_kernel("5.13.0-52-generic", 5, 13)
    assert since_kernel("6.1.0", 5, 13)
    assert not since_kernel("5.4.0-150", 5, 13)
