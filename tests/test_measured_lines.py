"""Times of cache lines: which pairs are measured, in what time, and the real thing, briefly."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sweep.errors import BadInput, Unmeasurable
from sweep.inputs.catalog import Quantity, catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.costs import read
from sweep.measure import lines
from sweep.measure.fit import fit
from sweep.measure.lines import KINDS, latencies, measure_lines, numbers_of, pairs_of, seconds_of
from sweep.measure.loop import helper
from sweep.measure.measured import read_lines
from sweep.measure.outcome import fit_and_write
from sweep.measure.topology import read_lscpu, topology_here
from tests.test_fit import MACHINE, curves, measured_of, settings, truth
from tests.test_topology import FRENCH, MILAN


@pytest.fixture
def sysfs(tmp_path):
    """sysfs(rows): the kernel's files of CPUs by socket, first CPU with the same L3, and core."""

    def write(rows):
        for cpu, (socket, cache, core) in enumerate(rows):
            files = {"topology/physical_package_id": socket, "topology/core_id": core}
            files["cache/index3/shared_cpu_list"] = f"{cache}-{cache + 7}"
            for name, value in files.items():
                path = tmp_path / f"cpu{cpu}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{value}\n")
        return topology_here(range(len(rows)), tmp_path)

    return write


def test_the_kernels_files_tell_sockets_clusters_and_siblings(sysfs):
    host = sysfs([(n // 16 % 2, n % 32 // 8 * 8, n % 16) for n in range(64)])
    assert (host.cpus, host.sockets, host.threads_per_core, host.cluster_cores) == (64, 2, 2, 8)
    assert np.bincount(host.distances[0]).tolist() == [2, 14, 16, 32]


def test_without_the_kernels_files_all_cpus_are_cores_of_one_socket(tmp_path):
    host = topology_here([3, 5], tmp_path)
    assert (host.cpus, host.sockets, host.threads_per_core, host.cluster_cores) == (2, 1, 1, None)


def test_a_plan_has_every_distance_and_ends_within_two_minutes():
    small, large = read_lscpu(FRENCH, "f"), read_lscpu(MILAN, "f")
    assert len(pairs_of(small)) == 8 * 7 // 2
    pairs = pairs_of(large)
    counts = np.bincount(large.distances[pairs[:, 0], pairs[:, 1]])
    assert counts.tolist() == [128, 500, 500, 500]
    assert numbers_of(6) == [1, 2, 4, 6]
    everything = replace(small, places=np.stack([np.zeros(64, int), np.zeros(64, int), np.arange(64)], axis=1))
    assert len(pairs_of(everything)) == 64 * 63 // 2
    assert max(seconds_of(host) for host in (small, large, everything)) < 100


def table_of(host, times):
    """What would be measured on a host with these times by distance."""
    rows = [("pair", 2, one, other, times[host.distances[one, other]]) for one, other in pairs_of(host)]
    return pd.DataFrame(rows, columns=["kind", "cpus", "one", "other", "ns"])


def test_every_distance_of_a_large_machine_has_its_time():
    host = read_lscpu(MILAN, "f")
    found = latencies(table_of(host, [10.0, 23.0, 108.0, 198.0]), host, range(256))
    assert {name: (time.low, time.central, time.high) for name, time in found.items()} == {
        f"line_{name}_ns": (ns, ns, ns)
        for name, ns in zip(("sibling", "cluster", "socket", "cross"), (10, 23, 108, 198), strict=True)
    }


def test_the_real_helper_measures_a_pair_and_contended_lines(monkeypatch, tmp_path):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        pytest.skip("one CPU only")
    try:
        helper(lines.SOURCE)
    except Unmeasurable as error:
        pytest.skip(str(error))
    host = topology_here(cpus)
    monkeypatch.setattr(lines, "CONTENDED_MS", 20.0)
    for _ in range(10):  # whoever else runs here may hold the CPUs for a while
        table = measure_lines(host, cpus)
        if (table["kind"] == "pair").any():
            break
    else:
        pytest.skip("others held the CPUs all the time")
    assert set(table["kind"]) == {"pair", *KINDS}
    (time,) = latencies(table, host, cpus).values()
    assert 1 < time.low <= time.central <= time.high < 10_000
    (tmp_path / "lines.csv").write_text(table.to_csv(index=False))
    pd.testing.assert_frame_equal(read_lines(tmp_path / "lines.csv"), table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind,cpus,one,other,ns\npair,2,0,1,fast\n", "line 2: ns='fast': must be a number from 0.0001 to"),
        ("kind,cpus,one,other,ns\nlock,2,0,1,5\n", "line 2: kind='lock': must be pair"),
        ("kind,cpus\npair,2\n", "has no column 'one'"),
        ("", "must be a lines.csv of `sweep measure`"),
    ],
)
def test_a_table_of_another_form_is_named_by_its_line(text, message, tmp_path):
    path = tmp_path / "lines.csv"
    path.write_text(text)
    with pytest.raises(BadInput) as raised:
        read_lines(path)
    assert message in str(raised.value)


def test_measured_lines_are_no_part_of_the_fit_and_stand_in_the_machine(tmp_path, capsys):
    known = {
        "line_socket_ns": Quantity(central=90.0, low=88.0, high=95.0, source="measured"),
        "line_cluster_ns": Quantity(central=22.0, low=20.0, high=24.0, source="measured"),
    }
    measured = measured_of(curves(), truth(line_socket_ns=90.0, line_cross_ns=90.0))
    found = fit(measured, settings(), MACHINE, known)
    assert "line_socket_ns" not in found.costs
    assert found.known["line_socket_ns"] == 90.0
    assert found.table["error_pct"].abs().median() < 2
    (tmp_path / "measure").mkdir()
    fit_and_write(measured, settings(), MACHINE, tmp_path, known)
    quantities = catalog([tmp_path, conf_dir()])["machine"]["this_machine"].quantities
    for name, time in known.items():
        assert (quantities[name].low, quantities[name].central, quantities[name].high) == (
            time.low,
            time.central,
            time.high,
        )
        assert quantities[name].source.startswith("measured")
        assert set(read("this_machine", tmp_path / "costs" / "this_machine.yaml").column(f"this_machine/{name}")) == {
            time.central
        }
    capsys.readouterr()
