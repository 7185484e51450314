"""Completion: what is offered at a Tab, and a real shell in which no name of a file is ever executed."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sweep.__main__ import main

ROOT = Path(__file__).parent.parent
HOSTILE = ("$(touch taken)", "`touch taken`", "a; touch taken", "two words", "qu'ote", "$HOME", "&&touch taken")


@pytest.fixture
def offered(tmp_path):
    """offered(*lines): what the shell is told to offer at the end of each, in tmp_path/work."""
    (tmp_path / "work").mkdir()

    def ask(line):
        answer = tmp_path / f"answer {abs(hash(line))}"
        told = {
            "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\v",
            "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'@><=;|&(:",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        command = [sys.executable, "-m", "sweep"]
        subprocess.run(command, env=os.environ | told, cwd=tmp_path / "work", timeout=60, check=True)
        return {each for each in answer.read_text().split("\v") if each}

    def ask_all(*lines):
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(lines, pool.map(ask, lines), strict=True))

    return ask_all


OFFERED = {
    "sweep stat": {"status "},
    "sweep status ": {"run/", "other\\ run/"},
    "sweep report ru": {"run/"},
    "sweep compare run oth": {"other\\ run/"},
    "sweep report run --out ": {"run/", "other\\ run/"},
    "sweep report --no": {"--no-plots "},
    "sweep --config-dir r": {"run/"},
    "sweep machine --lscpu m": {"m.csv "},
    "sweep measure --measured m": {"m.csv "},
    "sweep measure --me": {"--measured "},
    "sweep status --w": {"--watch "},
    "sweep compare run run --csv m": {"m.csv "},
    "sweep show poin": {"point "},
    "sweep show point ru": {"run/"},
    "sweep profile --vmstat m": {"m.csv "},
    "sweep profile --k": {"--keep-arguments "},
    "sweep +grid=smo": {"smoke "},
    "sweep +grid=smoke out=r": {"run/"},
    "sweep +grid=smoke reuse=ot": {"other\\ run/"},
    "sweep +grid=smoke policy=xpfo_deferred_no": {"xpfo_deferred_node "},
    "sweep +grid=smoke ceil": {"ceiling="},
    "sweep +grid=smoke quiet=t": {"true "},
    "sweep --config-dir nowhere machine=i5": set(),
    "sweep list mach": {"machines "},
    "sweep show xeon_81": {"xeon_8160 "},
}


def test_folders_files_names_and_options_are_offered(offered, tmp_path):
    for name in ("run", "other run"):
        (tmp_path / "work" / name).mkdir()
    (tmp_path / "work" / "m.csv").write_text("")
    assert offered(*OFFERED) == OFFERED


def test_what_the_user_has_of_his_own_is_offered(offered, tmp_path):
    (tmp_path / "own" / "machine").mkdir(parents=True)
    (tmp_path / "own" / "machine" / "plain_1.yaml").write_text("defaults: [i5_3550, _self_]\n")
    lines = f"sweep --config-dir {tmp_path}/own machine=pla", f"sweep show --config-dir {tmp_path}/own plain"
    assert list(offered(*lines).values()) == [{"plain_1 "}, {"plain_1 "}]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_tab_and_enter_in_a_real_shell_give_the_name_and_execute_nothing(tmp_path, name, capsys):
    assert main(["--completion"]) == 0
    work, bin_ = tmp_path / "work", tmp_path / "bin"
    (work / name).mkdir(parents=True)
    bin_.mkdir()
    (bin_ / "sweep").write_text(
        f'#!{sys.executable}\nimport os, sys\nif "_ARGCOMPLETE" in os.environ:\n    import sweep.__main__ as command\n'
        f'    command.main([])\nopen("{tmp_path}/got", "w").write(repr(sys.argv[1:]))\n'
    )
    (bin_ / "sweep").chmod(0o755)
    (tmp_path / "rc").write_text(f"PATH={bin_}:$PATH\nPS1='ready> '\nIFS=:\n{capsys.readouterr().out}")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(ROOT)
        os.chdir(work)
        os.execvp("bash", ["bash", "--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"])
    try:
        _until(terminal, rb"ready> ")
        os.write(terminal, b"sweep status \t")
        _until(terminal, rb"sweep status .*/")
        os.write(terminal, b"\n")
        for _ in range(200):
            if (tmp_path / "got").exists() and (tmp_path / "got").read_text():
                break
            time.sleep(0.05)
    finally:
        os.write(terminal, b"\x03\nexit\n")
        os.close(terminal)
        os.waitpid(pid, 0)
    assert (tmp_path / "got").read_text() == repr(["status", name + "/"])
    assert [path.name for path in work.iterdir()] == [name]


def _until(terminal, pattern):
    seen = b""
    while not re.search(pattern, seen):
        ready, _, _ = select.select([terminal], [], [], 10)
        assert ready, seen
        seen += os.read(terminal, 4096)


def test_the_script_is_good_in_another_shell(capsys):
    if shutil.which("zsh") is None:
        pytest.skip("no zsh here")
    assert main(["--completion"]) == 0
    done = subprocess.run(
        ["zsh", "-c", f"autoload -U compinit bashcompinit; compinit -D; bashcompinit\n{capsys.readouterr().out}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""


def test_half_of_what_a_shell_says_at_a_tab_is_no_tab(monkeypatch, capsys):
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.delenv("COMP_LINE", raising=False)
    assert main(["list", "grids"]) == 0
    assert "smoke" in capsys.readouterr().out
