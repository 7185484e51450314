"""The folder of a run: committed once, verified, the same bytes whatever the cut."""

import json
import shutil
import socket

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sim import METRICS
from sweep.__main__ import main
from sweep.plan.columns import one_value
from sweep.store.parts import part_bytes
from sweep.store.rows import columns_of, join_tables, to_table
from tests.test_grid import plan_of

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time on a machine

SMALL = ("+grid=smoke", "ceiling=[0,33,512]")


@pytest.fixture(scope="module")
def reference(sweep_in):
    return sweep_in(*SMALL, "runner=serial", "chunk_s=0.004")


def test_results_are_a_row_per_point_and_replica_with_units(reference):
    table = pq.read_table(reference / "results.parquet")
    assert table.num_rows == 12 * 2
    frame = table.to_pandas()
    assert frame[["point", "replica"]].equals(frame[["point", "replica"]].sort_values(["point", "replica"]))
    assert set(METRICS) | {"policy", "machine", "workload", "ceiling", "range_pages"} <= set(frame.columns)
    assert table.schema.field("flush_wait_ns").metadata[b"unit"] == b"ns"
    assert pd.read_parquet(reference / "results.parquet").attrs["units"]["system_time_s"] == "s"


def test_run_json_says_what_the_run_was(reference):
    run = json.loads((reference / "run.json").read_text())
    assert run["grid"] == "smoke"
    assert run["overrides"][:2] == list(SMALL)
    assert {"plan", "code", "versions", "commit", "points"} <= set(run)
    assert run["points"]["seed"] == 0


def test_any_chunks_give_the_same_bytes(reference, sweep_in):
    expected = (reference / "results.parquet").read_bytes()
    assert len(list((reference / "parts").iterdir())) > 3
    for chunk_s in (0.2, 100):
        other = sweep_in(*SMALL, "runner=serial", f"chunk_s={chunk_s}")
        assert (other / "results.parquet").read_bytes() == expected
        assert (other / "tables" / "summary.csv").read_bytes() == (reference / "tables" / "summary.csv").read_bytes()


def test_a_part_does_not_show_how_its_constant_columns_were_found():
    axes = {"policy": ["vanilla", "xpfo"], "accounting": ["tick", "irq_time"], "ceiling": [0, 33], "refill_ns": [1, 2]}
    plan = plan_of(axes | {"user_refill_ns": [1.0, 0.0, -0.0]}, machine="xeon_8160")
    points = len(plan)
    metrics = {name: np.zeros((1, plan.replicas)) for name in METRICS}
    for begin, end in ((0, points), (0, 1), (1, 3), (points // 2, points), (points - 6, points)):
        plan.__dict__["chunks"] = np.array([begin, end])
        some = range(begin, end)
        known = to_table(
            plan,
            some,
            columns_of(plan, some),
            {name: np.repeat(each, end - begin, 0) for name, each in metrics.items()},
        )
        pieces = [known.slice(at, plan.replicas) for at in range(0, known.num_rows, plan.replicas)]
        pieced = join_tables([piece.replace_schema_metadata(None) for piece in pieces])
        assert part_bytes(plan, 0, pieced) == part_bytes(plan, 0, known)


def test_ray_gives_the_same_bytes_as_one_process(reference, sweep_in, ray):
    other = sweep_in(*SMALL, "runner=ray", "chunk_s=0.004")
    assert (other / "results.parquet").read_bytes() == (reference / "results.parquet").read_bytes()


def test_the_same_command_continues(sweep_in, monkeypatch):
    folder = sweep_in(*SMALL, "runner=serial", "chunk_s=0.004")
    expected = (folder / "results.parquet").read_bytes()
    parts = sorted((folder / "parts").iterdir())
    missing = pq.read_metadata(parts[1]).num_rows // 2
    (folder / "results.parquet").unlink()
    parts[1].unlink()
    computed = []
    from sweep.run import compute as simulation

    compute = simulation.compute
    monkeypatch.setattr(simulation, "compute", lambda plan, points: computed.append(points) or compute(plan, points))
    sweep_in(*SMALL, "runner=serial", "chunk_s=0.004", out=folder)
    assert [len(points) for points in computed] == [missing]
    assert (folder / "results.parquet").read_bytes() == expected


@pytest.mark.parametrize("damage", ["truncated", "flipped", "swapped", "empty"])
def test_a_broken_part_is_found_set_aside_and_computed_again(sweep_in, damage):
    folder = sweep_in(*SMALL, "runner=serial", "chunk_s=0.004")
    expected = (folder / "results.parquet").read_bytes()
    parts = sorted((folder / "parts").iterdir())
    content = parts[1].read_bytes()
    if damage == "truncated":
        parts[1].write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        at = len(content) // 3
        parts[1].write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
    elif damage == "swapped":
        parts[1].write_bytes(parts[2].read_bytes())
    else:
        parts[1].write_bytes(b"")
    (folder / "results.parquet").unlink()
    sweep_in(*SMALL, "runner=serial", "chunk_s=0.004", out=folder)
    assert (folder / "results.parquet").read_bytes() == expected
    assert [path.name for path in (folder / "broken").iterdir()] == [parts[1].name]


def test_a_folder_of_another_plan_is_refused_with_the_first_difference(sweep_in, capsys):
    folder = sweep_in(*SMALL, "runner=serial")
    before = sorted(path.name for path in folder.rglob("*"))
    assert main([*SMALL, "seed=1", f"out={folder}"]) == 2
    assert "points.seed was 0 and is 1" in capsys.readouterr().err
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_parts_without_a_run_are_refused(tmp_path, capsys):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "part-00000000.parquet").write_bytes(b"x")
    assert main([*SMALL, f"out={tmp_path}"]) == 2
    assert "without a run.json" in capsys.readouterr().err


def test_half_a_part_that_a_killed_worker_left_is_taken_away(tmp_path):
    arguments = ["+grid=smoke", "policy=xpfo_deferred", "window_events=64", "runner=serial", "quiet=true"]
    assert main([*arguments, f"out={tmp_path}"]) == 0
    (tmp_path / "results.parquet").unlink()
    left = tmp_path / "parts" / f".part-00000000.parquet.{socket.gethostname()}.{999_999_999}"
    left.write_bytes(b"PAR1")
    assert main([*arguments, f"out={tmp_path}"]) == 0
    assert not left.exists()


def test_huge_results_make_no_tables_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sweep.run.driver.MOST_ROWS", 1)
    arguments = ["+grid=smoke", "policy=xpfo_deferred", "window_events=64", "runner=serial", f"out={tmp_path}"]
    assert main(arguments) == 0
    assert (tmp_path / "results.parquet").exists()
    assert not (tmp_path / "tables").exists()
    assert not (tmp_path / "report.html").exists()
    assert f"sweep tables {tmp_path}" in capsys.readouterr().err


def test_one_value_means_one_bit_pattern():
    assert one_value(np.array([np.nan, np.nan]))
    assert not one_value(np.array([0.0, 1.0, 0.0]))
    assert not one_value(np.array([0.0, -0.0]))
    assert not one_value(np.array(["tick", "irq_time", "tick"], dtype=object))


def test_another_plan_is_named_by_the_first_value_that_differs_also_inside_a_machine(tmp_path, sweep_in, capsys):
    machine = tmp_path / "machine" / "mine.yaml"
    machine.parent.mkdir()
    given = ["--config-dir", str(tmp_path), "+grid=smoke", "machine=mine", "policy=xpfo_deferred", "window_events=32"]
    machine.write_text("defaults: [i5_3550, _self_]\ninvlpg_ns: 85\n")
    sweep_in(*given, out=tmp_path / "run")
    machine.write_text("defaults: [i5_3550, _self_]\ninvlpg_ns: 86\n")
    assert main([*given, f"out={tmp_path}/run"]) == 2
    assert "sources.machines.mine.invlpg_ns was 85.0 and is 86.0" in capsys.readouterr().err
    machine.write_text("# a comment\ndefaults: [i5_3550, _self_]\ninvlpg_ns: 85.0\n")
    assert main([*given, "jobs=3", f"out={tmp_path}/run"]) == 2
    assert "jobs[0] was 4" in capsys.readouterr().err
    assert main([*given, f"out={tmp_path}/run", "quiet=true"]) == 0


def test_a_part_of_another_run_is_not_taken_for_this_ones(sweep_in, tmp_path, capsys):
    """A part whose checksum is right, of fewer replicas: its rows would be read as other points'."""
    small = ("+grid=smoke", "policy=xpfo_deferred", "window_events=64", "runner=serial", "seed=5")
    old, fewer = (sweep_in(*small, "jobs=[1,2,4]", f"replicas={number}") for number in (2, 1))
    right = sweep_in(*small, "replicas=2", "jobs=[1,2]")
    shutil.copytree(old, tmp_path / "mixed")
    for part in (fewer / "parts").iterdir():
        shutil.copy(part, tmp_path / "mixed" / "parts")
    assert main([*small, "replicas=2", "jobs=[1,2]", f"reuse={tmp_path}/mixed", f"out={tmp_path}/new"]) == 0
    assert "0 of 2 points were reused" in capsys.readouterr().err
    assert (tmp_path / "new" / "results.parquet").read_bytes() == (right / "results.parquet").read_bytes()


def test_long_texts_of_many_failures_are_kept_shortened_and_read_again(tmp_path, monkeypatch):
    def failing(**parameters):
        raise ValueError("e" * 25_000)

    monkeypatch.setattr("sweep.run.compute.simulate", failing)
    many = (
        "+grid=smoke",
        "policy=xpfo_deferred",
        "ceiling={from: 0, to: 1999, steps: 2000}",
        "chunk_s=1e9",
        "replicas=1",
    )
    for _ in range(2):
        assert main([*many, "runner=serial", "quiet=true", "report=false", f"out={tmp_path}"]) == 3
    failed = pd.read_parquet(tmp_path / "failures.parquet")
    assert len(failed) == 2000
    assert failed["error"].str.len().max() < 4_100
    assert not (tmp_path / "broken").exists()
