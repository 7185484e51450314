"""Several runs side by side: `sweep runs`, `sweep compare` into files, and `sweep.concat`."""

import json
import os
import shutil
import socket

import pandas as pd
import pytest

import sweep
from sim import simulate
from sweep.__main__ import main
from sweep.command.verbs.runs import age, as_text
from sweep.errors import BadInput
from sweep.store.folder import look
from sweep.store.lock import space
from sweep.store.runs import FoundRun, different_settings, find_runs
from tests.conftest import sign

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

SMALL = ("+grid=smoke", "window_events=64", "precision=0.3")


@pytest.fixture(scope="module")
def two(sweep_in, tmp_path_factory):
    """A folder with two runs that differ in their seed and their policies."""
    root = tmp_path_factory.mktemp("runs")
    sweep_in(*SMALL, out=root / "smoke" / "first")
    sweep_in(*SMALL, "seed=1", "policy=[xpfo,xpfo_deferred]", out=root / "second")
    return root


@pytest.fixture
def copied(two, tmp_path):
    shutil.copytree(two, tmp_path / "runs")
    return tmp_path / "runs"


def by_name(root):
    return {run.name: run for run in find_runs(look(str(root)))}


def change(run, **facts):
    """Change what the run.json of a run says."""
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | facts))


def test_every_run_below_a_folder_is_found_with_what_it_is(two):
    found = by_name(two)
    assert set(found) == {"smoke/first", "second"}
    first = found["smoke/first"]
    assert (first.grid, first.points, first.state) == ("smoke", 4, "done")
    assert found["second"].points == 2
    assert first.size == sum(path.stat().st_size for path in (two / "smoke" / "first").rglob("*") if path.is_file())
    assert 0.0 <= first.age_s < 600.0
    assert [run.name for run in find_runs(look(str(two)))] == ["second", "smoke/first"]  # the last one first


def test_a_folder_that_is_a_run_itself_is_one_run(two):
    assert set(by_name(two / "second")) == {"."}


def test_links_and_hidden_folders_are_not_followed(copied):
    (copied / "smoke" / "back").symlink_to(copied)
    (copied / "second").rename(copied / ".second")
    assert set(by_name(copied)) == {"smoke/first"}


def test_a_run_that_was_ended_early_is_stopped_and_one_with_a_living_driver_runs(copied):
    first = copied / "smoke" / "first"
    for name in ("results.parquet", "results.sha256"):
        (first / name).unlink()
    assert by_name(copied)["smoke/first"].state == "stopped, 100 %"  # its only chunk is there, its results are not
    shutil.rmtree(first / "parts")
    assert by_name(copied)["smoke/first"].state == "stopped, 0 %"
    holder = {"host": socket.gethostname(), "space": space(), "pid": os.getpid()}
    (first / "lock.json").write_text(json.dumps(holder))
    assert by_name(copied)["smoke/first"].state == "running, 0 %"


def test_failed_points_are_counted(copied):
    run = copied / "second"
    results = pd.read_parquet(run / "results.parquet")
    results.loc[results["point"] == 1, "status"] = "failed: a test"
    results.to_parquet(run / "results.parquet")
    sign(run)
    assert by_name(copied)["second"].state == "done, 1 failed"


def test_the_points_of_a_version_that_did_not_say_how_many_are_not_known(copied):
    record = json.loads((copied / "second" / "run.json").read_text())
    del record["total_points"]
    (copied / "second" / "run.json").write_text(json.dumps(record))
    assert by_name(copied)["second"].points is None


def test_only_settings_of_the_points_that_are_not_the_same_in_all_runs_are_shown(two, copied):
    runs = find_runs(look(str(two)))
    assert different_settings(runs) == [{"seed": "1", "policy": "[xpfo,xpfo_deferred]"}, {}]
    assert different_settings(runs[:1]) == [{}]
    change(copied / "second", code="0123456789abcdef")
    found = find_runs(look(str(copied)))
    codes = {run.name: differ["code"] for run, differ in zip(found, different_settings(found), strict=True)}
    assert codes["second"] == "01234567"
    assert codes["smoke/first"] == json.loads((copied / "smoke" / "first" / "run.json").read_text())["code"][:8]


def test_a_damaged_run_is_named_among_the_others_with_what_is_wrong(copied, capsys):
    (copied / "second" / "run.json").write_text("{")
    assert main(["runs", str(copied)]) == 0
    shown = capsys.readouterr().out
    assert "damaged" in next(line for line in shown.splitlines() if line.startswith("second"))
    assert shown.splitlines()[-1].endswith("second/run.json: is not JSON")
    assert "done" in next(line for line in shown.splitlines() if line.startswith("smoke/first"))


def test_a_folder_without_runs_says_so_and_one_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no runs found\n"
    for arguments in ([], ["nowhere"], ["file"], ["file/below"], ["a\0b"], ["x" * 5000]):
        assert main(["runs", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("most", [80, 200])
def test_lines_fit_the_terminal_and_lose_nothing(most):
    settings = {f"parameter_{number}_ns": str(number) for number in range(12)}
    runs = [
        FoundRun("smoke/" + "long" * 9, "smoke", 10**9, "running, 99 %, 123 failed", 1e6, 10**11, settings),
        FoundRun("plain", "a" * 30, None, "done", 3.0, 5, {}),
    ]
    lines = as_text(runs, most).splitlines()
    assert max(map(len, lines)) <= most
    cells = "".join(lines).replace(" ", "")
    for wanted in ("1000000000", "running,99%,123failed", "12d", "100.0GB"):
        assert wanted in cells
    if most == 200:
        assert len(lines) < len(as_text(runs, 80).splitlines())
        assert runs[0].name in lines[1]


def test_a_name_that_moves_the_cursor_is_shown_and_not_obeyed():
    assert "\x1b" not in as_text([FoundRun("\x1b[2J", "g", 1, "done", 1.0, 1, {})], 80)


def test_ages_are_short():
    assert [age(s) for s in (-1.0, 0.4, 119.0, 120.0, 7199.0, 7200.0, 172_800.0)] == [
        "0 s", "0 s", "119 s", "2 min", "120 min", "2 h", "2 d",
    ]  # fmt: skip


def test_a_comparison_is_written_as_markdown_and_csv(two, tmp_path, capsys):
    a, b = str(two / "smoke" / "first"), str(two / "second")
    csv, markdown = tmp_path / "new" / "both.csv", tmp_path / "both.md"
    assert main(["compare", a, b, "--csv", str(csv), "--markdown", str(markdown), "--rows", "1"]) == 0
    assert "2 points in both" in capsys.readouterr().out
    table = pd.read_csv(csv)
    assert set(table["policy"]) == {"xpfo", "xpfo_deferred"}
    means = {name: sweep.load(out).groupby("policy")["system_time_s"].mean() for name, out in (("a", a), ("b", b))}
    for side, mean in means.items():
        assert table.set_index("policy")[side].to_dict() == pytest.approx(mean[table["policy"]].to_dict())
    lines = markdown.read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 3  # names, alignment, one point
    assert len({line.count("|") for line in rows}) == 1
    assert lines[-1] == "1 more points are not shown."


def test_a_comparison_on_standard_output_is_that_alone(two, capsys):
    a, b = str(two / "smoke" / "first"), str(two / "second")
    assert main(["compare", a, b, "--csv", "-"]) == 0
    assert pd.read_csv(pd.io.common.StringIO(capsys.readouterr().out)).shape[0] == 2
    assert main(["compare", a, b, "--markdown", "-"]) == 0
    assert capsys.readouterr().out.startswith("- 2 points in both")


@pytest.mark.parametrize("given", ["", ".", "folder", "folder/", "file/below.csv"])
def test_a_comparison_that_cannot_be_written_is_a_sentence(two, given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    assert main(["compare", str(two / "second"), str(two / "second"), "--csv", given]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sweep: --csv={given!r}")
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_two_comparisons_on_standard_output_are_refused(two, capsys):
    assert main(["compare", str(two), str(two), "--csv", "-", "--markdown", "-"]) == 2
    assert "only one of them may be standard output" in capsys.readouterr().err


def test_names_that_are_markup_are_text_in_a_markdown_table(copied, capsys):
    run = copied / "second"
    results = pd.read_parquet(run / "results.parquet")
    results.loc[results["policy"] == "xpfo", "policy"] = "_a_ | <b> `c` \x1b[2J"
    results.to_parquet(run / "results.parquet")
    sign(run)
    assert main(["compare", str(run), str(run), "--markdown", "-"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "a" in line and line.startswith("| \\_a"))
    assert row.startswith(r"| \_a\_ \| \<b> \`c\` \\x1b\[2J |")


def test_runs_are_joined_with_their_names_and_units(two):
    outs = [two / "smoke" / "first", str(two / "second")]
    joined = sweep.concat(outs)
    assert joined.columns[0] == "run"
    for out in outs:
        one, of_it = sweep.load(out), joined[joined["run"] == str(out)].drop(columns="run").reset_index(drop=True)
        pd.testing.assert_frame_equal(of_it, one, check_like=False)
        assert joined.attrs["runs"][str(out)]["points"]["seed"] == (0 if out is outs[0] else 1)
    assert joined.attrs["units"] == {**sweep.load(outs[0]).attrs["units"], "run": "name"}


def test_joined_runs_of_the_same_points_are_an_axis(two):
    pytest.importorskip("xarray")
    joined = sweep.concat([two / "smoke" / "first", two / "second"])
    both = sweep.to_xarray(joined[joined["policy"].isin(["xpfo", "xpfo_deferred"])])
    assert dict(both.sizes) == {"policy": 2, "run": 2, "replica": 2}


def test_runs_of_different_code_are_not_joined(copied):
    change(copied / "second", code="0123456789abcdef")
    with pytest.raises(BadInput) as refused:
        sweep.concat([copied / "smoke" / "first", copied / "second"])
    assert f"{copied}/smoke/first and {copied}/second: simulated by different code" in str(refused.value)
    assert "01234567" in str(refused.value)


def test_what_cannot_be_joined_is_a_sentence(two, tmp_path):
    with pytest.raises(BadInput, match="no run given"):
        sweep.concat([])
    with pytest.raises(BadInput, match="is given twice"):
        sweep.concat([two / "second", str(two / "second")])
    with pytest.raises(BadInput, match=r"it has no run.json"):
        sweep.concat([two / "second", tmp_path])


def test_points_that_are_equal_are_simulated_once(sweep_in, monkeypatch):
    """Two spellings of one number of jobs, among others."""
    simulated = []

    def counted(**parameters):
        simulated.append(len(parameters["policy"]))
        return simulate(**parameters)

    monkeypatch.setattr("sweep.run.compute.simulate", counted)
    words = ["+grid=point", "policy=xpfo_deferred", "machine=i5_3550", "window_events=64", "runner=serial"]
    results = pd.read_parquet(sweep_in(*words, 'jobs=[4,"1 x cores",2]') / "results.parquet")
    assert simulated[-1] == 2
    four = [results[results["point"] == point].drop(columns="point").reset_index(drop=True) for point in (0, 1)]
    pd.testing.assert_frame_equal(*four)
    assert (results["jobs"].drop_duplicates() == [4.0, 2.0]).all()


def test_blocks_that_the_command_line_makes_equal_are_one(capsys):
    assert main(["+grid=cores", "policy=xpfo", "machine=xeon_8160", "dry_run=true"]) == 0
    assert "28 x 2 replicas" in capsys.readouterr().out
