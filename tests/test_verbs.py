"""Verbs over folders that are damaged, somebody else's or read-only: a sentence, exit code 2, and nothing made."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep.__main__ import main
from sweep.tables.make import as_csv
from tests.conftest import sign
from tests.page import drawn, words

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

READERS = ("status", "report", "tables", "next", "compare")


@pytest.fixture(scope="module")
def finished(sweep_in):
    return sweep_in("+grid=smoke", "window_events=64", "precision=0.3", "report=true")


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def told(capsys, verb, *folders):
    """The one line with which a verb refuses these folders, and that nothing was made or changed."""
    before = {path: path.stat().st_mtime_ns for folder in folders for path in sorted(Path(folder).rglob("*"))}
    given = [*folders, folders[-1]] if verb == "compare" and len(folders) == 1 else folders
    assert main([verb, *map(str, given)]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("sweep: ")
    assert shown.err.count("\n") == 1
    after = {path: path.stat().st_mtime_ns for folder in folders for path in sorted(Path(folder).rglob("*"))}
    assert after == before
    return shown.err


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize(
    "text",
    ["", '{"plan": ', "null", "[]", "17", '"run"', "{}", '{"plan": 1}', '{"plan": "x", "points": []}', "\xff",
     "[" * 9999, '{"plan": "x", "grid": "g", "code": "c", "chunk_bounds": "many", "points": {}}', "9" * 5000],
)  # fmt: skip
def test_a_run_json_of_another_form_is_a_sentence(verb, text, run, capsys):
    (run / "run.json").write_bytes(text.encode("latin-1"))
    assert "run.json" in told(capsys, verb, run)


@pytest.mark.parametrize("verb", READERS[1:])
@pytest.mark.parametrize("size", [0, 3, 12, 999, 5000, -1, -8, -100])
def test_truncated_results_are_a_sentence(verb, size, run, capsys):
    whole = (run / "results.parquet").read_bytes()
    (run / "results.parquet").write_bytes(whole[:size])
    assert "results.parquet" in told(capsys, verb, run)


@pytest.mark.parametrize("verb", ["report", "tables", "compare"])
def test_flipped_bytes_of_results_are_never_a_traceback(verb, run, capsys):
    whole = bytearray((run / "results.parquet").read_bytes())
    random = np.random.default_rng(1)
    for at in random.integers(4, len(whole) - 8, 40):
        spoilt = whole.copy()
        spoilt[at] ^= 1 << int(random.integers(8))
        (run / "results.parquet").write_bytes(spoilt)
        given = [str(run)] * (2 if verb == "compare" else 1)
        assert main([verb, *given, *(["--no-plots"] if verb == "report" else [])]) in (0, 2)
        capsys.readouterr()


@pytest.mark.parametrize("verb", READERS[1:])
@pytest.mark.parametrize(
    "table",
    [pa.table({"a": [1]}), pa.table({"point": ["x"], "replica": [0]}), pa.table({})],
    ids=["another", "text", "empty"],
)
def test_results_of_another_form_are_a_sentence(verb, table, run, capsys):
    pq.write_table(table, run / "results.parquet")
    sign(run)
    assert "results.parquet" in told(capsys, verb, run)


def test_results_without_a_row_are_tables_without_a_row(run, capsys):
    pq.write_table(pq.read_table(run / "results.parquet").slice(0, 0), run / "results.parquet")
    sign(run)
    assert main(["tables", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    assert main(["compare", str(run), str(run)]) == 0
    assert "0 points in both" in capsys.readouterr().out
    assert main(["next", str(run)]) == 2


@pytest.mark.parametrize("verb", READERS)
def test_a_folder_that_is_no_run_is_a_sentence(verb, tmp_path, capsys):
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folders" / "run.json").mkdir(parents=True)
    (tmp_path / "folders" / "results.parquet").mkdir()
    for name in ("file", "empty", "folders", "nowhere", "file/below", "--frob", "a\0b", "x" * 5000):
        arguments = [verb, *([str(tmp_path / name)] if name != "--frob" else [name])]
        assert main([*arguments, arguments[-1]] if verb == "compare" else arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "folders"]


def test_what_a_verb_makes_can_be_written_elsewhere(run, tmp_path, capsys):
    for path in (run / "report.html", run / "tables"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = sorted(run.rglob("*"))
    assert main(["tables", str(run), "--out", str(tmp_path / "mine")]) == 0
    assert main(["report", str(run), "--out", str(tmp_path / "mine")]) == 0
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"tables", "report.html", "plots"}
    assert sorted(run.rglob("*")) == before
    assert str(tmp_path / "mine" / "report.html") in capsys.readouterr().out


def test_a_run_that_is_only_readable_says_how_to_write_elsewhere(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(run)))  # root may write anywhere
    for verb in ("report", "tables"):
        assert f"{run}: is not writable; give --out DIR to write elsewhere" in told(capsys, verb, run)
        assert main([verb, str(run), "--out", str(tmp_path / "mine")]) == 0
        capsys.readouterr()


def test_what_stands_in_the_way_is_named(run, capsys):
    shutil.rmtree(run / "tables")
    (run / "tables").write_text("a file")
    assert main(["tables", str(run)]) == 2
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert "give --out DIR" in said


def test_text_that_a_spreadsheet_would_run_stays_text():
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "plain", "a=b", None, "'quoted", ""]
    table = pd.DataFrame({"=name": texts, "number": [-1.5] * len(texts), "flag": [True] * len(texts)})
    lines = as_csv(table).splitlines()
    assert lines[0] == "'=name,number,flag"
    assert lines[1] == "'=1+1,-1.5,True"
    found = pd.read_csv(pd.io.common.StringIO(as_csv(table)), keep_default_na=False)
    assert found["'=name"].tolist()[:5] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1"]
    assert found["'=name"].tolist()[5] == "' =1"
    assert found["'=name"].tolist()[6:] == ["plain", "a=b", "", "'quoted", ""]
    assert found["number"].tolist() == [-1.5] * len(texts)


HOSTILE = r"=cmd|'/C calc'!A0 $\frac{ <b>\u001b[2J</b> __proto__"


def test_names_that_are_formulas_or_mathematics_are_text_everywhere(run, capsys):
    results = pd.read_parquet(run / "results.parquet")
    name = json.loads(f'"{HOSTILE}"'.replace(r"\f", r"\\f"))
    results.loc[results["policy"] == "xpfo", "policy"] = name
    results.loc[results["policy"] == "xpfo_deferred", "policy"] = "$x^2$ and $\\undefined{"
    results.loc[results["policy"] == "xpfo_no_flush", "policy"] = "constructor"
    results.to_parquet(run / "results.parquet")
    sign(run)
    record = json.loads((run / "run.json").read_text())
    record |= {"question": f"$\\frac{{ {name}", "grid": name, "overrides": [name]}
    (run / "run.json").write_text(json.dumps(record))
    assert main(["tables", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    for path in (run / "tables").glob("*.csv"):
        cells = pd.read_csv(path, dtype=str, header=None).stack()
        assert not cells.str.match(r"[=@\t\r]|[+-][^0-9]").any(), path.name
    assert name in set(pd.read_parquet(run / "tables" / "summary.parquet")["policy"])
    pictures = "".join(path.read_text() for path in (run / "plots").glob("*.svg"))
    assert "$x^2$ and $\\undefined{" in pictures
    assert "<b>" in drawn(run)
    assert "<b>" not in words(run)
    capsys.readouterr()
    assert main(["compare", str(run), str(run)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown


PEAK = """import sys
from sweep.__main__ import main
print(main(sys.argv[1:]), next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""  # getrusage would count the process that has started it


def test_tables_and_page_of_many_rows_take_the_memory_of_few_columns(run, tmp_path):
    """Of 400,000 rows all columns take 340 MB as Arrow, and as much again as a frame."""
    some = pq.read_table(run / "results.parquet")
    many = pa.concat_tables([some] * (400_000 // len(some)))
    replicas = pa.array(np.arange(len(many), dtype=np.int32))
    many = many.set_column(many.schema.get_field_index("replica"), some.schema.field("replica"), replicas)
    pq.write_table(many, run / "results.parquet", row_group_size=131_072)
    sign(run)
    for verb in (["tables"], ["report", "--no-plots"]):
        command = [sys.executable, "-c", PEAK, *verb, str(run), "--out", str(tmp_path / "made")]
        said = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
        code, peak_kb = said.stdout.split()[-2:]
        assert code == "0", said.stderr
        assert int(peak_kb) < 700_000, verb
