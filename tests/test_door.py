"""What comes from outside: one reader of YAML, names that stay text, one sentence for what is wrong."""

import unicodedata

import pytest

import sweep
from sweep.__main__ import main
from sweep.command.compose import compose
from sweep.errors import BadInput
from sweep.inputs.conf import conf_dir, questions
from sweep.inputs.door import admit
from sweep.inputs.reader import parse_yaml
from sweep.inputs.settings import Runner, Settings


def test_numbers_and_words_are_those_of_yaml_1_2():
    text = "a: 010\nb: 1e3\nc: on\nd: 1:30\ne: 0x10\nf: 0o17\ng: yes\nh: 2001-01-01\ni: .inf\nj: null\nk: '1'\nl: +.5"
    content = parse_yaml(text, "f").content
    assert content == {
        "a": 10, "b": 1000.0, "c": "on", "d": "1:30", "e": 16, "f": 15, "g": "yes", "h": "2001-01-01",
        "i": float("inf"), "j": None, "k": "1", "l": 0.5,
    }  # fmt: skip
    assert [type(content[name]) for name in "abl"] == [int, float, float]


def test_names_stay_the_text_that_was_written():
    content = parse_yaml("machine: 0590\nworkload: [null, true, 1e3]\npolicy: on\njobs: 4\n", "f").content
    assert content == {"machine": "0590", "workload": ["null", "true", "1e3"], "policy": "on", "jobs": 4}


BOMB = "b0: &b0 [x, x]\n" + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", "f, line 2: 'a' is given twice"),
        ("x:\n\t- y\n", "f, line 2: "),
        ("[1, 2", "f, line 2: while parsing"),
        ("? [1]\n: 2\n", "f, line 1: a key must be a word or a number"),
        ("a: &x [*x]\n", "f, line 1: *x refers to itself"),
        ("a: !!python/object:os.system x\n", "f, line 1: could not determine a constructor"),
        (f"a: {'9' * 5000}\n", "f, line 1: a number of 5000 digits"),
        ("a: " + "[" * 60 + "]" * 60, "40 deep"),
        (BOMB, "at most 100000 values"),
        ("--- 1\n--- 2\n", "expected a single document"),
        ("a: \x00\n", "f: must be YAML: "),
    ],
)
def test_what_is_no_plain_data_is_named_with_its_line(text, said):
    with pytest.raises(BadInput) as error:
        parse_yaml(text, "f")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "content", "said"),
    [
        (Settings, {"max_points": "many"}, "max_points='many': must be a number"),
        (Settings, {"max_points": 0}, "max_points=0: must be above 0"),
        (Settings, {"max_cpu_hours": float("nan")}, "must be finite|must be above 0"),
        (Settings, {"quiet": "no"}, "quiet='no': must be true or false"),
        (Settings, {"max_failures": 1.5}, "max_failures=1.5: must be a whole number"),
        (Settings, {"max_failures": True}, "max_failures=True: must be a whole number"),
        (Settings, {"qiuet": True}, "unknown key 'qiuet'; did you mean 'quiet'"),
        (Settings, {"out": " "}, "out=' ': must name a folder"),
        (Settings, {1: 2}, "a key must be a word"),
        (Settings, [1], r"\[1\]: must be a mapping"),
        (Runner, {"kind": "fast"}, "kind='fast': must be auto, serial or ray"),
        (Runner, {"serial_below_s": float("nan")}, "serial_below_s=nan: must be"),
        (Runner, {"serial_below_s": float("inf")}, "must be finite"),
        (Runner, {"tasks_per_cpu": None}, "tasks_per_cpu=null: must be a whole number"),
        (Runner, {"address": "ray://127.0.0.1:1"}, "without `ray://`"),
        (Runner, {"address": "6379"}, "must be HOST:PORT"),
    ],
)
def test_a_setting_has_its_type_and_its_bounds(model, content, said):
    with pytest.raises(BadInput, match=said):
        admit(model, content)


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ("out=20261125", "out", "20261125"), ("out=1e5", "out", "1e5"), ("out=a b (1)", "out", "a b (1)"),
        ("out='a,b'", "out", "a,b"), ("out=p/Müller", "out", "p/Müller"), ("commit=0590447", "commit", "0590447"),
        ("commit=1_234_567", "commit", "1_234_567"), ("reuse=true", "reuse", "true"), ("out=null", "out", None),
    ],
)  # fmt: skip
def test_text_of_the_command_line_stays_text(given, name, value):
    assert getattr(compose(["+grid=smoke", given], [conf_dir()]).settings, name) == value


@pytest.mark.parametrize("name", ["4790", "true", "null", "nan", "1e3", "a.b-c+d"])
def test_any_plain_name_of_a_file_works(name, tmp_path, sweep_in):
    for group, text in (("machine", "defaults: [i5_3550, _self_]\n"), ("grid", f"# Yes?\nmachine: {name}\njobs: 4\n")):
        (tmp_path / group).mkdir()
        (tmp_path / group / f"{name}.yaml").write_text(text, encoding="utf-8")
    assert main(["--config-dir", str(tmp_path), f"+grid={name}", f"machine=[{name}]", "dry_run=true"]) == 0
    assert main(["--config-dir", str(tmp_path), f"+grid={name}", "dry_run=true"]) == 0


@pytest.mark.parametrize("folder", ["Müller", "runs (2)", "a=b", "a,b", "#1", "R&D", "[x]", "$(touch x)"])
def test_a_folder_may_have_any_name(folder, tmp_path, capsys):
    (tmp_path / folder / "grid").mkdir(parents=True)
    (tmp_path / folder / "grid" / "g.yaml").write_text("# Mine?\npolicy: xpfo_deferred\njobs: 4\n", encoding="utf-8")
    assert main(["--config-dir", str(tmp_path / folder), "+grid=g", "dry_run=true"]) == 0
    assert "Mine?" in capsys.readouterr().out


def wide(text):
    """A text in the wide letters of an input method for Chinese or Japanese."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("there", ["NFC", "NFD"])
def test_a_name_is_the_same_in_whatever_unicode_form_it_is_typed(form, there, tmp_path, capsys):
    name, typed, of_file = (unicodedata.normalize(each, "müller") for each in ("NFC", form, there))
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / f"{of_file}.yaml").write_text("defaults: [i5_3550, _self_]\n")
    own = ["--config-dir", str(tmp_path)]
    given = [f"+grid={wide('smoke')}", f"machine={typed}", f"policy={wide('xpfo')}", f"{wide('jobs')}=2"]
    assert main([*own, *given, "dry_run=true"]) == 0
    assert main(["show", *own, typed]) == 0
    rows = sweep.simulate(config_dir=tmp_path, machine=typed, policy=wide("xpfo"), cores=4, window_events=64)
    assert (rows["machine"].unique().tolist(), rows["policy"].unique().tolist()) == ([name], ["xpfo"])
    assert main([*own, "+grid=smoke", f"machine={typed}s"]) == 2
    assert f"did you mean {name!r}" in capsys.readouterr().err


def test_a_name_in_a_file_is_the_same_in_whatever_unicode_form_it_is_written(tmp_path):
    for group, text in (("machine", "defaults: [i5_3550, _self_]"), ("grid", "# Yes?\nmachine: {}\njobs: 4")):
        (tmp_path / group).mkdir()
        text = text.format(unicodedata.normalize("NFD", "müller"))
        (tmp_path / group / f"{unicodedata.normalize('NFC', 'müller')}.yaml").write_text(text, encoding="utf-8")
    assert main(["--config-dir", str(tmp_path), "+grid=müller", "dry_run=true"]) == 0


def test_odd_files_in_a_folder_stop_nothing(tmp_path):
    grids = tmp_path / "grid"
    grids.mkdir()
    (grids / "g.yaml").write_text("\ufeff---\n\n# Mine?\njobs: 4\n", encoding="utf-8")
    (grids / ".#g.yaml").symlink_to("me@host.1:1")
    (grids / "._g.yaml").write_bytes(b"\0\5\26\7Mac OS X\377\376")
    (grids / "latin.yaml").write_bytes("# Größe?\n".encode("latin-1"))
    (grids / "old.yaml").mkdir()
    (grids / "-x.yaml").write_text("# Not to be given?\n", encoding="utf-8")
    found = questions([tmp_path, conf_dir()])
    assert found["g"] == "Mine?"
    assert not {"old", "-x", ".#g", "._g"} & set(found)
    assert main(["--config-dir", str(tmp_path), "+grid=g", "dry_run=true"]) == 0
    with pytest.raises(BadInput, match="grid/latin: must be UTF-8 text"):
        compose(["+grid=latin"], [tmp_path, conf_dir()])


def test_a_file_from_somebody_else_reads_no_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SECRET", "hunter2")
    for group, text in (("grid", "# ?\njobs: ${oc.env:SECRET}\n"), ("machine", "title: ${oc.env:SECRET}\n")):
        (tmp_path / group).mkdir()
        (tmp_path / group / "evil.yaml").write_text(text, encoding="utf-8")
        use = "+grid=evil" if group == "grid" else "machine=evil"
        assert main(["--config-dir", str(tmp_path), *({"+grid=smoke", use} if group == "machine" else [use])]) == 2
        said = capsys.readouterr().err
        assert f"{group}/evil, line" in said
        assert "must not use a resolver" in said
        assert "hunter2" not in said


def test_a_users_file_in_place_of_ours_is_said(tmp_path, capsys):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "smoke.yaml").write_text("# Mine?\njobs: 4\n", encoding="utf-8")
    assert main(["--config-dir", str(tmp_path), "+grid=smoke", "dry_run=true"]) == 0
    assert "grid/smoke: the file in" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["jobs=range(1,5)", "jobs=choice(1,2)", "jobs=1,2", "policy=xpfo,xpfo_deferred"])
def test_the_remedy_that_an_error_names_works(typed, capsys):
    assert main(["+grid=smoke", typed]) == 2
    said = capsys.readouterr().err
    remedy = said.partition("like `")[2].partition("`")[0]
    assert main(["+grid=smoke", remedy, "dry_run=true"]) == 0, said


def test_a_count_that_could_be_drawn_is_refused_when_it_is_read(tmp_path, capsys):
    (tmp_path / "machine").mkdir()
    text = "defaults: [i5_3550, _self_]\nsockets: {central: 1, low: 1, high: 4}\n"
    (tmp_path / "machine" / "m.yaml").write_text(text, encoding="utf-8")
    assert main(["--config-dir", str(tmp_path), "+grid=smoke", "machine=m", "draws=4"]) == 2
    assert "machine/m, line 2: sockets: must be one number: a size of the point" in capsys.readouterr().err


def test_draws_null_switches_a_grids_own_draws_off(capsys):
    assert main(["+grid=patch", "draws=null", "dry_run=true"]) == 0
    assert "points     16 x" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["!!set {a, b}", "!!timestamp 2020-01-01", "!!binary aGk=", "!!omap [a: 1]"])
def test_a_tag_that_is_no_plain_data_is_refused_with_its_line(value):
    with pytest.raises(BadInput, match=r"grid/g, line 2: !!\w+: must be text, a number, a list or a mapping"):
        parse_yaml(f"# Q\njobs: {value}\n", "grid/g")


@pytest.mark.parametrize("words", [["tables", "\ud800"], ["+grid=smoke", f"policy_path={'9' * 400}", "dry_run=true"]])
def test_a_folder_that_cannot_be_is_refused_in_one_line(words, capsys):
    assert main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
