"""Machines and workloads: every file composes, every key is checked, every number has its unit and source."""

import csv
from pathlib import Path

import pytest

from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.inputs.catalog import QUANTITIES, catalog, quantities_of, read_entry
from sweep.inputs.conf import conf_dir, questions
from sweep.inputs.reader import Document

ENTRIES = catalog([conf_dir()])
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "priors.csv"


@pytest.mark.parametrize("group", ["machine", "workload"])
def test_every_uncertain_number_has_a_unit_and_a_source(group):
    for entry in ENTRIES[group].values():
        for some in (entry.quantities, *entry.machines.values()):
            for name, quantity in some.items():
                assert name in QUANTITIES
                if quantity.uncertain or name.endswith(("_ns", "_s")):
                    assert quantity.source, (entry.name, name)
                    assert quantity.unit, (entry.name, name)


def test_a_workload_says_what_differs_by_machine():
    quantities = quantities_of(ENTRIES["machine"]["i5_3550"], ENTRIES["workload"]["kernel_build"])
    assert quantities["base_system_s"].central == 607.671
    other = quantities_of(ENTRIES["machine"]["xeon_8160"], ENTRIES["workload"]["kernel_build"])
    assert other["base_system_s"].central == 950.966


@pytest.mark.skipif(not SHARED.is_file(), reason="the collected priors are not beside this checkout")
def test_the_files_agree_with_the_collected_priors():
    checked = 0
    for row in csv.DictReader(SHARED.open()):
        for machine in ("xeon_8160", "i5_3550"):
            quantities = quantities_of(ENTRIES["machine"][machine], ENTRIES["workload"]["kernel_build"])
            if row["machine"] not in (machine, "any") or row["parameter"] not in quantities or not row["low"]:
                continue
            if row["parameter"] in ("user_s", "user_s_over_xeon"):
                continue
            found = quantities[row["parameter"]]
            assert [found.low, found.central, found.high] == [float(row[k]) for k in ("low", "central", "high")], row
            checked += 1
    assert checked > 50


def test_a_machine_takes_over_what_its_core_and_that_ones_core_say():
    milan = ENTRIES["machine"]["epyc_milan_2s"]
    assert [milan.quantities[name].owner for name in ("line_cross_ns", "invlpg_ns", "irq_exit_ns", "queue_lines")] == [
        "epyc_milan_2s", "zen3 core", "zen2 core", "linux core",
    ]  # fmt: skip
    assert milan.quantities["irq_exit_ns"] == ENTRIES["machine"]["epyc_rome_2s"].quantities["irq_exit_ns"]


def test_nothing_of_another_machine_is_taken_over_in_silence():
    """A machine has its own cache lines and clock, or is built on the machine whose they are."""
    for machine in ENTRIES["machine"].values():
        lowest = machine
        while lowest.parent and not lowest.parent.name.endswith(" core"):
            lowest = lowest.parent
        own = {name for name, quantity in lowest.quantities.items() if quantity.owner == lowest.name}
        assert {"line_socket_ns", "clock_scale", "cores"} <= own, machine.name
        if machine.quantities["sockets"].central > 1:
            assert "line_cross_ns" in own, machine.name


@pytest.mark.parametrize("grid", sorted(questions([conf_dir()])))
def test_every_grid_opens_and_is_priced_without_writing(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["policy=xpfo_deferred", "cores=96", "jobs=60"] if grid == "point" else []
    assert main([f"+grid={grid}", *given, "dry_run=true", "max_points=1e9"]) == 0
    assert "CPU-hours" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_every_grid_asks_a_question():
    found = questions([conf_dir()])
    assert {"patch", "smoke", "cores"} <= set(found)
    assert all(question.endswith(("?", ".")) and "?" in question for question in found.values())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"refil_ns": 3}, "unknown key 'refil_ns'; did you mean 'refill_ns'"),
        ({"refill_ns": {"low": 1, "high": 2}}, "refill_ns: central: not given"),
        ({"refill_ns": {"central": 1, "hihg": 2}}, "unknown key 'hihg'; did you mean 'high'"),
        ({"refill_ns": {"central": 3, "low": 5, "high": 9}}, "low <= central"),
        ({"refill_ns": {"central": 3, "unit": "us"}}, "unit 'us': must be 'ns'"),
        ({"refill_ns": -3}, "refill_ns=-3"),
        ({"refill_ns": float("nan")}, "finite"),
        ({"accounting": {"central": "tick", "alternative": "tock", "share": 0.5}}, "tick, irq_time"),
        ({"machines": {"m": {"user": 3}}}, "unknown key 'user'"),
    ],
)
def test_a_wrong_file_is_refused_by_key(content, said):
    with pytest.raises(BadInput, match=said):
        read_entry("mine", Document("machine/mine", content))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"one": "defaults: [xeon_8160, i5_3550, _self_]\n"}, "must be one file and _self_"),
        (
            {"one": "defaults: [two, _self_]\n", "two": "defaults: [one, _self_]\n"},
            "one builds on two builds on one: must not be a circle",
        ),
        ({"one": "defaults: [/core/skylke, _self_]\n"}, "no such core; did you mean 'skylake'?"),
        ({"one": "defaults: xeon_8160\n"}, r"must be a list, like \[xeon_8160, _self_\]"),
    ],
)
def test_a_machine_builds_on_one_other_file_that_is_there_and_not_on_itself(files, said, tmp_path):
    (tmp_path / "machine").mkdir()
    for name, text in files.items():
        (tmp_path / "machine" / f"{name}.yaml").write_text(text)
    with pytest.raises(BadInput, match=said):
        catalog([tmp_path, conf_dir()])["machine"]["one"]
