"""`sweep list` and `sweep show`, and that every verb answers a mistake in one line."""

import pytest
import yaml

from sim import METRICS
from sweep.__main__ import main
from sweep.command.listing import KINDS
from sweep.command.verbs import VERBS
from sweep.inputs.catalog import QUANTITIES


def said(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_every_kind_is_listed_a_line_each(capsys):
    assert "xpfo_deferred_bounded" in said(capsys, "list", "policies")
    assert "Xeon Platinum 8160, 48 cores" in said(capsys, "list", "machines")
    assert "kernel build, fragmented memory" in said(capsys, "list", "workloads")
    assert "Does everything work here?" in said(capsys, "list", "grids")
    parameters = said(capsys, "list", "parameters")
    assert len(parameters.splitlines()) == len(QUANTITIES)
    assert "[pages; at least 0, whole]" in next(each for each in parameters.splitlines() if each.startswith("ceiling"))
    assert len(said(capsys, "list", "metrics").splitlines()) == len(METRICS)
    assert "crossover" in said(capsys, "list", "tables")


def test_without_a_kind_all_names_are_listed(capsys):
    text = said(capsys, "list")
    for kind in KINDS:
        assert f"sweep list {kind}" in text
    assert {"xpfo", "xeon_8160", "kernel_build", "patch", "ceiling", "pareto", "ratio"} <= set(text.split())


def test_one_name_is_shown_whole(capsys):
    assert "flush_tlb_kernel_range() -> on_each_cpu" in said(capsys, "show", "xpfo")
    machine = said(capsys, "show", "xeon_8160")
    assert "invlpg_ns" in machine
    assert "[neoverse_n1 core] estimate: " in said(capsys, "show", "arm64_server")
    assert "on i5_3550:" in said(capsys, "show", "kernel_build")
    assert "512 in Linux" not in said(capsys, "show", "ceiling")
    grid = said(capsys, "show", "patch")
    assert yaml.safe_load(grid.partition("\n\n")[2])["draws"] == 32


def test_cfg_prints_the_composed_configuration_and_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = yaml.safe_load(said(capsys, "+grid=patch", "--cfg", "job", "machine=i5_3550", "draws=2", "runner=serial"))
    assert found["grid"]["machine"] == "i5_3550"
    assert found["grid"]["draws"] == 2
    assert found["runner"]["kind"] == "serial"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["list", "polices"], "did you mean 'policies'"),
        (["show", "xpof"], "did you mean 'xpfo'"),
        (["show"], "required: NAME"),
        (["report"], "required: OUT"),
        (["report", "nowhere"], "it has no run.json"),
        (["tables", "nowhere"], "it has no run.json"),
        (["next", "nowhere"], "it has no run.json"),
        (["compare", "nowhere"], "required: B"),
        (["compare", "nowhere", "nothing", "--rows", "x"], "invalid int value"),
        (["status", "nowhere"], "it has no run.json"),
        (["status", "nowhere", "--frob"], "unrecognized arguments: --frob"),
        (["profile"], "give either a command after --"),
        (["profile", "--jobs", "x"], "invalid int value"),
        (["measure", "--config-dir"], "expected one argument"),
        (["--cfg", "all", "+grid=smoke"], "invalid choice: 'all' (choose from 'job')"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(arguments, wanted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("sweep: ")
    assert shown.err.count("\n") == 1
    assert wanted in shown.err
    assert shown.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"usage: sweep {verb}" in capsys.readouterr().out
