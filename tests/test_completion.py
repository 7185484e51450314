"""Completion in a real shell: files and folders are offered, and no name of one is ever executed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest

from sweep.__main__ import main

HOSTILE = ("$(touch taken)", "`touch taken`", "a; touch taken", "x|touch taken", "two words", "qu'ote", 'dou"ble',
           "*", "~", "$HOME", "\\n", "-rf", "&&touch taken", "$'\\x41'", "<(touch taken)", "!!", "#x",
           "new\nline")  # fmt: skip


@pytest.fixture
def script(capsys):
    """script(*options): what the completion is."""

    def made(*options):
        assert main([*options, "--completion"]) == 0
        return capsys.readouterr().out

    return made


def offered(script, words, folder):
    """What the shell offers for the last of these words."""
    given = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    script += f'\nCOMP_WORDS=({given}); COMP_CWORD={len(words) - 1}; _sweep; printf "%s\\0" "${{COMPREPLY[@]}}"\n'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, cwd=folder)
    assert done.stderr == ""
    return {each for each in done.stdout.split("\0") if each}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sweep", "status", ""], {"run", "other run"}),
        (["sweep", "report", "ru"], {"run"}),
        (["sweep", "compare", "run", "oth"], {"other run"}),
        (["sweep", "report", "run", "--out", ""], {"run", "other run"}),
        (["sweep", "report", "--"], {"--no-plots", "--out", "--help"}),
        (["sweep", "--config-dir", "r"], {"run"}),
        (["sweep", "--config-dir", "=", "r"], {"run"}),
        (["sweep", "measure", "--measured", "m"], {"m.csv"}),
        (["sweep", "runs", ""], {"run", "other run"}),
        (["sweep", "status", "--w"], {"--watch"}),
        (["sweep", "compare", "run", "run", "--csv", "m"], {"m.csv"}),
        (["sweep", "compare", "run", "run", "--markdown", "m"], {"m.csv"}),
        (["sweep", "show", "poin"], {"point"}),
        (["sweep", "show", "point", ""], {"run", "other run"}),
        (["sweep", "measure", "--me"], {"--measured"}),
        (["sweep", "profile", "--vmstat", "m"], {"m.csv"}),
        (["sweep", "profile", "--vmstat", "m.csv", ""], {"m.csv", "run", "other run"}),
        (["sweep", "profile", "--k"], {"--keep-arguments"}),
        (["sweep", "+grid", "=", "smoke", "out", "=", "r"], {"run"}),
        (["sweep", "+grid=smoke", "reuse=ot"], {"reuse=other run"}),
        (["sweep", "list", "mach"], {"machines"}),
        (["sweep", "show", "xeon_81"], {"xeon_8160"}),
    ],
)
def test_folders_files_and_options_are_offered(script, tmp_path, words, wanted):
    for name in ("run", "other run"):
        (tmp_path / name).mkdir()
    (tmp_path / "m.csv").write_text("")
    assert offered(script(), words, tmp_path) == wanted


def test_names_of_files_are_never_executed_nor_offered_as_words(script, tmp_path):
    own, work = tmp_path / "own", tmp_path / "work"
    work.mkdir()
    for group in ("machine", "workload", "grid", "costs"):
        (own / group).mkdir(parents=True)
        for name in HOSTILE:
            (own / group / f"{name}.yaml").write_text("# Is it taken?\ndefaults: [i5_3550, _self_]\n")
    (own / "machine" / "plain-1.yaml").write_text("defaults: [i5_3550, _self_]\n")
    text = script("--config-dir", str(own))
    for words in (["sweep", "machine", "="], ["sweep", "+grid", "="], ["sweep", "workload", "="], ["sweep", "show", ""],
                  ["sweep", "costs", "="], ["sweep", ""]):  # fmt: skip
        found = offered(text, words, work)
        assert not found & set(HOSTILE)
        assert all(re.fullmatch(r"[\w.+=-]+", each) for each in found)
    assert "plain-1" in offered(text, ["sweep", "machine", "="], work)
    assert list(work.iterdir()) == []


def test_names_of_folders_are_never_executed(script, tmp_path):
    for name in HOSTILE:
        (tmp_path / name).mkdir()
    lines = {line for name in HOSTILE for line in name.split("\n")}
    for words in (["sweep", "status", ""], ["sweep", "--config-dir", ""], ["sweep", "out", "=", ""]):
        assert offered(script(), words, tmp_path) == lines
    for name in HOSTILE:
        offered(script(), ["sweep", "status", name], tmp_path)
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize("name", [name for name in HOSTILE if "\n" not in name])
def test_a_tab_and_enter_in_a_real_shell_give_the_name_and_execute_nothing(script, tmp_path, name):
    work, bin_ = tmp_path / "work", tmp_path / "bin"
    (work / name).mkdir(parents=True)
    bin_.mkdir()
    (bin_ / "sweep").write_text(
        f'#!{sys.executable}\nimport sys\nopen("{tmp_path}/got", "w").write(repr(sys.argv[1:]))'
    )
    (bin_ / "sweep").chmod(0o755)
    (tmp_path / "rc").write_text(f"PATH={bin_}:$PATH\nPS1='ready> '\n{script()}")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(work)
        os.execvp("bash", ["bash", "--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"])
    try:
        _until(terminal, b"ready> ")
        os.write(terminal, b"sweep status \t")
        time.sleep(0.3)
        os.write(terminal, b"\n")
        for _ in range(100):
            if (tmp_path / "got").exists() and (tmp_path / "got").read_text():
                break
            time.sleep(0.05)
    finally:
        os.write(terminal, b"\x03\nexit\n")
        os.close(terminal)
        os.waitpid(pid, 0)
    got = (tmp_path / "got").read_text()
    assert got in (repr(["status", name + "/"]), repr(["status", "./" + name + "/"]))
    assert [path.name for path in work.iterdir()] == [name]


def _until(terminal, text):
    seen = b""
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], 20)
        assert ready, seen
        seen += os.read(terminal, 4096)


def test_the_script_is_good_in_another_shell(script):
    if shutil.which("zsh") is None:
        pytest.skip("no zsh here")
    done = subprocess.run(
        ["zsh", "-c", f"autoload -U compinit bashcompinit; compinit -D; bashcompinit\n{script()}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
