"""`sweep show point OUT N`: what is said of a parameter is what was simulated, and it says truly where that is from."""

import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from sim.parameters import PARAMETERS
from sim.quantities import set_large_share
from sweep.__main__ import main
from sweep.command.compose import compose
from sweep.command.verbs.show import shown_point
from sweep.inputs.conf import conf_dir
from sweep.plan.open import open_plan
from sweep.plan.origin import NOT_GIVEN, how_made, origins
from sweep.plan.points import CONTROLS

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

SWEEPS = {
    "drawn": ("+grid=smoke", "draws=3"),
    "literature": ("+grid=smoke", "costs=literature"),
    "a clock": ("+grid=point", "machine=e5_2697_v2", "policy=xpfo"),
    "a clock of the user's": ("+grid=point", "clock_scale=1.5", "invlpg_ns=7", "draws=2"),
    "a cost of the user's": ("+grid=point", "machine=kaby_lake", "invlpg_ns=[7,9]", "jobs=1 x cores"),
    "tied and relative": ("+grid=mask", "draws=1"),
    "blocks": ("+grid=patch",),
    "measured tables": ("+grid=validation",),
    "ranges": ("+grid=point", "large_range_share=[0.1,0.2]", "alloc_events=1e8", "user_s_over_xeon=0.5"),
}


def composed(*overrides):
    return open_plan(compose(overrides, [conf_dir()]).composition)


def some(plan):
    """Points of a plan: the first, the last, and some between."""
    return sorted({0, len(plan) - 1, *np.random.default_rng(1).integers(0, len(plan), 12).tolist()})


@pytest.mark.parametrize("name", SWEEPS)
def test_each_parameter_is_what_is_simulated_and_what_it_is_said_to_be_made_of(name):
    plan = composed(*SWEEPS[name])
    for number in some(plan):
        columns = plan.columns(number, number + 1)
        said = {each.name: each for each in origins(plan, number)}
        assert set(PARAMETERS) <= set(said)
        for parameter in set(PARAMETERS) - set(CONTROLS):
            each, simulated = said[parameter], columns[parameter][0] if parameter in columns else None
            if simulated is None or simulated != simulated:
                assert each.value == PARAMETERS[parameter].default
            else:
                assert each.value == simulated
            if simulated is None or simulated != simulated:
                continue
            if parameter == "range_pages" and len(each.pieces) > 1:
                mix, share = each.pieces
                assert set_large_share(mix.value, share.value) == simulated
            elif len(each.pieces) == 1:
                assert each.pieces[0].value == simulated
            else:
                assert math.prod(piece.value for piece in each.pieces) == simulated


def test_each_origin_is_named():
    plan = composed("+grid=mask", "draws=1", "invlpg_ns=7", "seed=3", "machine=i5_3550")
    last = {each.name: how_made(each) for each in origins(plan, len(plan) - 1)}
    assert last["invlpg_ns"] == last["seed"] == last["machine"] == "command line"
    assert last["cores"] == last["user_switches_per_s"] == last["replicas"] == "grid mask"
    assert last["jobs"] == "1 (grid mask) x cores 1024 (grid mask)"
    assert last["preempted_share"] == "default of the model"
    assert last["broadcast_ns"] == NOT_GIVEN
    assert last["ceiling"] == "linux core"
    assert last["base_system_s"] == "workload kernel_build on i5_3550"
    assert last["draw"] == "one of 1 cost samples"
    assert last["refill_ns"] == "draw 1 of ivy_bridge core"
    assert last["tick_hz"] == "draw 1 of all machines"


def test_what_a_file_takes_over_is_of_the_file_that_says_it():
    plan = composed("+grid=point", "machine=e5_2697_v2", "costs=literature")
    said = {each.name: how_made(each) for each in origins(plan, 0)}
    assert said["sockets"] == "machine e5_2697_v2"
    assert said["ceiling"] == "linux core"
    assert said["refill_ns"] == "ivy_bridge core"
    assert said["line_cross_ns"] == "machine e5_2697_v2"


def test_a_constant_of_the_grid_that_is_the_default_anyway_is_still_the_grids():
    asked = compose(("+grid=mask", "draws=null"), [conf_dir()]).composition
    plan = open_plan(asked)
    assert asked.content["machine"] == asked.defaults["machine"]
    assert "machine" not in plan.space.blocks[0].values
    assert {each.name: how_made(each) for each in origins(plan, 0)}["machine"] == "grid mask"


@pytest.fixture(scope="module")
def finished(sweep_in):
    return sweep_in("+grid=smoke", "window_events=64", "precision=0.3", "draws=1", "report=false")


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_values_are_those_of_the_results(finished):
    results = pd.read_parquet(finished / "results.parquet").drop_duplicates("point").set_index("point")
    overrides = json.loads((finished / "run.json").read_text())["overrides"]
    plan = composed(*overrides)
    for number, row in results.iterrows():
        for each in origins(plan, number):
            if each.name in row and each.name != "range_pages" and row[each.name] == row[each.name]:
                assert row[each.name] == each.value, each.name


def test_every_parameter_of_a_point_is_printed_with_its_unit(finished, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["show", "point", str(finished), "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("point 5 of ")
    words = {line.split()[0]: line for line in lines[2:] if line and not line.startswith(" ")}
    assert set(PARAMETERS) <= set(words)
    assert " ns " in words["invlpg_ns"]
    assert "command line" in words["window_events"]


@pytest.mark.parametrize("most", [80, 200])
def test_lines_fit_the_terminal(finished, most):
    assert max(map(len, shown_point(str(finished), "0", most=most).splitlines()[2:])) <= most


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["8"], "has the points 0 to 7"),
        (["-1"], "a whole number, 0 or more"),
        (["1.5"], "a whole number, 0 or more"),
        (["9" * 30], "a whole number, 0 or more"),
        ([], "a run's folder and a point's index"),
        (["1", "2"], "a run's folder and a point's index"),
    ],
)
def test_a_point_that_is_not_there_is_a_sentence(finished, arguments, wanted, capsys):
    assert main(["show", "point", str(finished), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert wanted in said


def test_a_part_of_a_plan_has_its_own_points(sweep_in, capsys):
    out = sweep_in("+grid=smoke", "window_events=64", "precision=0.3", "points=1:3", "report=false")
    assert main(["show", "point", str(out), "2"]) == 0
    assert main(["show", "point", str(out), "0"]) == 2
    assert "has the points 1 to 2" in capsys.readouterr().err


def test_another_name_takes_no_folder(finished, capsys):
    assert main(["show", "xpfo", str(finished), "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def change(run, **facts):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | facts))


def test_a_run_of_other_code_says_so(run, capsys):
    assert main(["show", "point", str(run), "0"]) == 0
    assert "The code has changed" not in capsys.readouterr().out
    change(run, plan="of another version", code="of another version")
    assert main(["show", "point", str(run), "0"]) == 0
    assert "The code has changed since this run" in capsys.readouterr().out


def test_files_that_have_changed_since_the_run_are_named(run, capsys):
    sources = json.loads((run / "run.json").read_text())["sources"]
    sources["machines"]["i5_3550"]["ceiling"] = 34
    change(run, plan="of other files", sources=sources, commit="abc")
    assert main(["show", "point", str(run), "0"]) == 2
    said = capsys.readouterr().err
    assert "its files have changed: sources.machines.i5_3550.ceiling was 34 and is 33" in said
    assert "commit abc" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("overrides", [[], ["+grid=gone"], ["+grid=smoke", "cores=none"], ["+grid=smoke", "frob=1"]])
def test_a_run_that_cannot_be_composed_again_is_a_sentence(run, overrides, capsys):
    change(run, overrides=overrides)
    assert main(["show", "point", str(run), "0"]) == 2
    said = capsys.readouterr().err
    assert "cannot be composed again" in said
    assert said.count("\n") == 1


def test_a_folder_of_the_users_own_is_found_by_the_command_of_the_run_or_given(tmp_path, capsys):
    own = tmp_path / "my own"
    (own / "grid").mkdir(parents=True)
    (own / "grid" / "mine.yaml").write_text(
        "# Mine?\npolicy: xpfo\nmachine: i5_3550\ncores: 4\njobs: 4\nwindow_events: 64\n"
    )
    for number, option in enumerate((["--config-dir", str(own)], [f"--config-dir={own}"])):
        out = tmp_path / f"run{number}"
        assert main([*option, "+grid=mine", f"out={out}", "quiet=true"]) == 0
        assert main(["show", "point", str(out), "0"]) == 0
        assert "grid mine" in capsys.readouterr().out
    own.rename(tmp_path / "moved")
    assert main(["show", "point", str(out), "0"]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["show", "point", str(out), "0", "--config-dir", str(tmp_path / "moved")]) == 0


OF_SOMEBODY = """
open({taken!r}, "a").close()
from sim.policy import Local, Policy

POLICY = Policy(local=Local.FIRST)
"""


def test_a_point_of_somebody_elses_run_is_shown_without_running_the_code_that_it_names(sweep_in, tmp_path, capsys):
    taken = tmp_path / "taken"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "mine.py").write_text(OF_SOMEBODY.format(taken=str(taken)))
    run = sweep_in("+grid=smoke", "policy=mine", f"policy_path={tmp_path}/theirs", "window_events=64", "replicas=1")
    taken.unlink()
    assert main(["show", "point", str(run), "0"]) == 2
    assert "has policies of its own, which are code: give their folder" in capsys.readouterr().err
    assert not taken.exists()
    assert main(["show", "point", str(run), "0", "--policy-path", str(tmp_path / "theirs")]) == 0
    assert "mine" in capsys.readouterr().out


@pytest.mark.parametrize("said", ["out: /tmp/x", "policy_path: .", "reuse: /tmp/x"])
def test_a_folder_of_configuration_cannot_say_what_is_run_or_written(tmp_path, said, capsys):
    text = (conf_dir() / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(re.sub(rf"^{said.partition(':')[0]}: .*$", said, text, flags=re.MULTILINE))
    assert main(["--config-dir", str(tmp_path), "+grid=smoke", "dry_run=true"]) == 2
    assert "allowed only on the command line" in capsys.readouterr().err


def test_a_runner_of_the_users_folder_is_used_where_the_command_line_names_it(tmp_path, capsys):
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "auto.yaml").write_text("kind: ray\naddress: 192.0.2.1:6379\n")
    given = ["--config-dir", str(tmp_path), "+grid=smoke", "-c", "job"]
    assert main(given) == 0
    assert "192.0.2.1" not in capsys.readouterr().out
    assert main([*given, "runner=auto"]) == 0
    assert "192.0.2.1" in capsys.readouterr().out


def test_a_policy_of_ones_own_is_shown_and_not_run(tmp_path, capsys):
    (tmp_path / "mine.py").write_text('"""Ring no bell.\n\nStale: nobody.\n"""\nraise SystemExit(7)\n')
    for words in (["--policy-path", str(tmp_path)], [f"policy_path={tmp_path}"]):
        assert main(["show", "mine", *words]) == 0
        assert "Ring no bell.\n\nStale: nobody." in capsys.readouterr().out
    assert main(["show", "xpfo", f"policy_path={tmp_path}"]) == 0
    assert main(["show", "mine"]) == 2


def test_a_clock_without_interval_multiplies_the_drawn_costs(tmp_path):
    (tmp_path / "machine").mkdir()
    columns = []
    for clock in (1.0, 2.0):
        (tmp_path / "machine" / "mine.yaml").write_text(f"defaults: [kaby_lake, _self_]\nclock_scale: {clock}\n")
        words = ["+grid=point", "machine=mine", "draws=3"]
        columns.append(open_plan(compose(words, [tmp_path, conf_dir()]).composition).columns(0, 4)["invlpg_ns"])
    assert columns[1].tolist() == (2.0 * columns[0]).tolist()
