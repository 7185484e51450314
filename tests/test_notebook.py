"""`sweep.simulate`: the command's points as a DataFrame, with its bits, its checks and its sentences."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import sweep
from sweep.__main__ import main
from sweep.run import compute

SMALL = {"window_events": 320, "precision": 0.1, "replicas": 2}


def words(key, value):
    """KEY=VALUE as it is typed for a value."""
    return f"{key}=[{','.join(map(str, value))}]" if isinstance(value, list) else f"{key}={value}"


@pytest.mark.parametrize(
    "keys",
    [
        {"policy": "xpfo", "machine": "i5_3550"},
        {"policy": ["vanilla", "xpfo", "xpfo_deferred"], "cores": [4, 8], "jobs": [1, 8], "draws": 2},
        {"policy": "mm_shootdown", "machine": "i5_3550", "workload": "shootdown_loop", "ceiling": [0, 33]},
        {"policy": "xpfo", "cores": 8, "jobs": "0.5 x cores", "preempted_share": 0.02, "preempted_ns": 1e4},
        {"policy": "xpfo_deferred*", "machine": "i5_3550", "costs": ["calibrated", "literature"], "seed": 3},
        {"policy": "xpfo_deferred", "machine": "i5_3550", "cores": [4, 8], "points": "1:2", "engine": "vectorized"},
    ],
)
def test_the_rows_are_those_of_the_command_bit_by_bit(sweep_in, keys):
    command = {**keys, **SMALL}
    run = sweep.load(sweep_in("+grid=point", "runner=serial", *(words(*each) for each in command.items())))
    called = sweep.simulate(**keys, **SMALL)
    pd.testing.assert_frame_equal(called, run, check_exact=True)
    for name in ("system_time_s", "flush_wait_ns", "stale_window_ns"):
        assert called[name].to_numpy().tobytes() == run[name].to_numpy().tobytes()
    run.attrs.pop("run")
    assert called.attrs == run.attrs
    assert set(called.attrs["units"]) == set(called.columns)


def test_without_arguments_it_is_the_point_of_the_configuration():
    (row,) = sweep.simulate(window_events=64, replicas=1).to_dict("records")
    assert [row[name] for name in ("policy", "machine", "workload", "costs", "draw")] == [
        "xpfo_deferred", "xeon_8160", "kernel_build", "calibrated", 0,
    ]  # fmt: skip
    assert row["cores"] == row["jobs"] == 96


@pytest.mark.parametrize(
    "values", [np.array([4, 8]), pd.Series([4, 8]), (4, 8), range(4, 9, 4), [np.int64(4), np.float64(8.0)]]
)
def test_what_is_a_sequence_is_an_axis(values):
    keys = {"policy": "xpfo_deferred", "machine": "i5_3550", **SMALL}
    expected = sweep.simulate(cores=[4, 8], **keys)
    assert expected["cores"].unique().tolist() == [4.0, 8.0]
    metrics = [name for name in expected if name != "point"]
    pd.testing.assert_frame_equal(sweep.simulate(cores=values, **keys)[metrics], expected[metrics], check_exact=True)


@pytest.mark.parametrize(
    "keys",
    [
        {"policy": "xpfoo"},
        {"policy": ["vanilla", "xpfoo"]},
        {"machine": "i5"},
        {"workload": "build"},
        {"costs": "fitted"},
        {"cores": 0},
        {"cores": [4, 4]},
        {"cores": 5},
        {"jobs": "2 x core"},
        {"invlpg_ns": -1},
        {"preempted_share": 1.5},
        {"engine": "fast"},
        {"engine": "vectorized", "policy": "mm_shootdown"},
        {"replicas": 0},
        {"draws": -1},
        {"points": "3:1"},
        {"max_points": 1, "cores": [4, 8]},
        {"max_cpu_hours": 1e-9},
        {"policy": "membarrier"},
        {"policy": "vanilla", "invlpg_ns": 3},
        {"policy_path": "nowhere"},
        {"ceiling": []},
    ],
)
def test_what_the_command_refuses_is_refused_in_its_words(capsys, monkeypatch, tmp_path, keys):
    monkeypatch.chdir(tmp_path)
    assert main(["+grid=point", *(words(*each) for each in keys.items())]) == 2
    said = capsys.readouterr().err.strip().replace("grid/point", "grid/notebook").replace("point: ", "notebook: ")
    with pytest.raises(ValueError, match=r".") as refused:
        sweep.simulate(**keys)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) > 15
    assert said.endswith(message), said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"invlpg": 300}, "unknown key 'invlpg'; did you mean 'invlpg_ns'?"),
        ({"out": "here"}, "out: needs a run into a folder, and a call writes none; leave it out"),
        ({"runner": "ray"}, "runner: needs a run into a folder"),
        ({"cores": "4"}, "cores='4': must be"),
        ({"cores": b"4"}, "b'4': bytes: must be text, a number, a list or a mapping"),
        ({"range_pages": {b"1": 1}}, "b'1': bytes: must be"),
        ({"cores": np.arange(3_000_001)}, "3000001 values: must be at most"),
        ({"cores": [[[[[[[[[[4]]]]]]]]]]}, "lists in lists: must be at most 8 deep"),
        ({"policy": 3}, "policy='3': a policy's name is letters"),
        ({"config_dir": "nowhere"}, "config_dir=nowhere: no such folder"),
        ({"seed": [0, 1]}, "seed=[0, 1]: must be"),
        ({"invlpg_ns": {"from": 1, "to": 2, "steps": 750_001}, "max_cpu_hours": 1e9}, "3000004 rows"),
    ],
)
def test_what_only_a_call_can_get_wrong_is_a_sentence(keys, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r".") as refused:
        sweep.simulate(**keys)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_of_ones_own_comes_first_and_is_told(tmp_path):
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "desk.yaml").write_text("defaults: [i5_3550, _self_]\ncores: 8\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = sweep.simulate(policy="xpfo_deferred", machine="desk", config_dir=tmp_path, **SMALL)
    assert set(frame["cores"]) == set(frame["jobs"]) == {8.0}
    (tmp_path / "machine" / "i5_3550.yaml").write_text("defaults: [haswell, _self_]\n")
    with pytest.warns(UserWarning, match="machine/i5_3550: your own file replaces") as warned:
        sweep.simulate(policy="vanilla", machine="haswell", config_dir=tmp_path, **SMALL)
    assert warned[0].filename == __file__


def test_an_approximation_is_warned_of():
    point = {"machine": "i5_3550", **SMALL}
    with pytest.warns(UserWarning, match="broadcasts are approximated by numpy, in two events for a flush") as warned:
        sweep.simulate(policy=["vanilla", "xpfo"], engine="vectorized", **point)
    assert warned[0].filename == __file__


def test_a_point_that_fails_is_told_and_the_others_stay(monkeypatch):
    simulate = compute.simulate

    def failing(**parameters):
        if 8 in parameters["cores"]:
            raise ArithmeticError("eight")
        return simulate(**parameters)

    monkeypatch.setattr(compute, "simulate", failing)
    with pytest.warns(UserWarning, match="1 of 2 points failed and have NaN metrics: point 1: ArithmeticError"):
        frame = sweep.simulate(policy="xpfo_deferred", machine="i5_3550", cores=[4, 8], **SMALL)
    assert frame.groupby("cores")["system_time_s"].count().tolist() == [SMALL["replicas"], 0]


def test_an_interrupt_ends_the_call_and_is_no_failed_point(monkeypatch):
    def interrupted(**parameters):
        raise KeyboardInterrupt

    monkeypatch.setattr(compute, "simulate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep.simulate(cores=[4, 8], **SMALL)


def test_little_work_loads_no_more_than_it_needs_and_writes_no_run(tmp_path):
    program = (
        "import sys, sweep; sweep.simulate(policy=['vanilla', 'xpfo_deferred'], machine='i5_3550', window_events=64);"
        "print(sorted({'hydra', 'ray', 'numba', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())
