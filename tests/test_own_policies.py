"""Policies of the user's own: first of two of one name, tried before they are believed, and no one else's later."""

import subprocess
import sys
import time

import pandas as pd
import pytest

from sweep.__main__ import main
from sweep.plan import own_policies
from sweep.run import compute as simulation
from tests.test_grid import plan_of

NOBODY = '''"""No CPU is notified."""

from sim.policy import Local, Policy

POLICY = Policy(local=Local.NEVER)
'''
RUN = ("+grid=smoke", "runner=serial", "window_events=32", "replicas=1")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "mine"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit(3)\n", "ended the process with exit code 3"),
        ("import os\nos._exit(0)\n", "ended the process with exit code 0"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("while True:\n    pass\n", "importing it took more than"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("POLICY = (\n", "SyntaxError"),
        ("x = 1\n", "there is no POLICY: write POLICY = Policy("),
        ("POLICY = 7\n", "POLICY=7: write POLICY = Policy("),
        (
            NOBODY.replace("NEVER", "NEVER, kernel_exit=None"),
            "Policy: unknown word 'kernel_exit'; did you mean 'kernel_entry'?",
        ),
        (NOBODY.replace("NEVER", "NEVER, events=lambda build: 1 / 0"), "ZeroDivisionError"),
    ],
)
def test_a_file_that_does_not_work_is_refused_before_anything_starts(folder, text, said, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(own_policies, "DEADLINE_S", 5.0)
    (folder / "odd.py").write_text(text, encoding="utf-8")
    begun = time.monotonic()
    assert main([*RUN, f"policy_path={folder}", "policy=odd", f"out={tmp_path}/out"]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert time.monotonic() - begun < 30.0


def test_of_two_policies_of_one_name_the_users_is_used_and_said_and_later_sweeps_do_without(folder, tmp_path, capsys):
    for name in ("xpfo_deferred", "mine"):
        (folder / f"{name}.py").write_text(NOBODY, encoding="utf-8")
    given = [*RUN, f"policy_path={folder}", "policy=[xpfo_deferred,mine]", f"out={tmp_path}/own"]
    assert main(given) == 0
    assert "policy xpfo_deferred: the file in" in capsys.readouterr().err
    own = pd.read_parquet(tmp_path / "own" / "results.parquet").set_index("policy")["system_time_s"]
    assert own["xpfo_deferred"] == own["mine"]
    assert main([*RUN, "policy=xpfo_deferred", f"out={tmp_path}/ours", "quiet=true"]) == 0
    ours = pd.read_parquet(tmp_path / "ours" / "results.parquet")["system_time_s"]
    assert ours.iloc[0] != own["xpfo_deferred"]


def test_a_name_that_no_policy_can_have_is_said(folder, capsys):
    (folder / "my-policy.py").write_text(NOBODY, encoding="utf-8")
    assert main([*RUN, f"policy_path={folder}", "policy=my-policy"]) == 2
    assert "a policy's name is letters, digits and _" in capsys.readouterr().err


RAISES = """
from sim.policy import Local, Policy, every_event

def events(build):
    if (build.kunmap_events == 3.0).any():
        raise {}
    return every_event(build)

POLICY = Policy(local=Local.FIRST, events=events)
"""


@pytest.mark.parametrize("raised", ["KeyboardInterrupt()", "SystemExit(7)", "KeyError('k')", "GeneratorExit()"])
def test_what_a_policy_raises_is_its_points_failure_and_stops_nothing(folder, tmp_path, raised):
    (folder / "odd.py").write_text(RAISES.format(raised))
    given = [*RUN, f"policy_path={folder}", "policy=odd", "+kunmap_events=[1,3,4]"]
    assert main([*given, f"out={tmp_path}/o", "quiet=true"]) == 3
    results = pd.read_parquet(tmp_path / "o" / "results.parquet").set_index("kunmap_events")["status"]
    assert results[[1.0, 4.0]].eq("ok").all()
    assert raised.partition("(")[0] in results[3.0]


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(7), MemoryError(), OSError(5, "disk"), EOFError()])
def test_what_the_process_raises_is_no_failure_of_a_point(tmp_path, monkeypatch, raised):
    def ended(**parameters):
        raise raised

    plan = plan_of({"policy": "xpfo_deferred"}, machine="i5_3550")
    monkeypatch.setattr(simulation, "simulate", ended)
    with pytest.raises(type(raised)):
        simulation.compute(plan, range(1))


def test_a_folder_that_is_not_there_is_what_is_wrong_and_no_policy(capsys):
    assert main([*RUN, "policy_path=no/such/folder", "policy=xpfo"]) == 2
    assert capsys.readouterr().err == "sweep: policy_path='no/such/folder': no such folder\n"


LATE = '''"""Late marks are interrupted."""

from sim.policy import Check, Line, Local, Mark, Policy, Write

MARK = Mark(Line.GLOBAL, Write.PLAIN, deadline_ns=1e6)
POLICY = Policy(local=Local.FIRST, mark=MARK, switch_to_user=Check(Line.GLOBAL))
'''


@pytest.mark.parametrize(
    "text",
    [
        LATE.replace("PLAIN", "TEST_FIRST"),
        LATE.replace("GLOBAL", "NODE").replace("PLAIN", "TEST_FIRST"),
        LATE.replace("GLOBAL", "PER_CPU").replace("PLAIN", "TEST_FIRST"),
        LATE.replace("switch_to_user", "kernel_entry"),
    ],
)
def test_a_deadline_that_no_engine_models_is_refused_before_anything_starts(folder, text, capsys, tmp_path):
    (folder / "odd.py").write_text(text, encoding="utf-8")
    assert main([*RUN, f"policy_path={folder}", "policy=odd", f"out={tmp_path}/out"]) == 2
    said = capsys.readouterr().err
    assert "no engine models" in said
    assert "deadline_ns=1e+06" in said
    assert not (tmp_path / "out").exists()


def test_a_deadline_on_the_mask_is_simulated(folder, tmp_path):
    (folder / "odd.py").write_text(LATE, encoding="utf-8")
    assert main([*RUN, f"policy_path={folder}", "policy=odd", f"out={tmp_path}/out", "quiet=true"]) == 0


def test_a_policy_that_imports_ray_ends_a_run_on_a_ray_of_its_own_before_that_starts(folder, tmp_path):
    """The environment with its token is set before the first import."""
    (folder / "mine.py").write_text(NOBODY.replace("from sim.policy", "import ray\nfrom sim.policy"))
    command = ["+grid=smoke", "policy=mine", f"policy_path={folder}", "runner=ray", f"out={tmp_path}/run"]
    done = subprocess.run([sys.executable, "-m", "sweep", *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Ray was imported before the sweep" in done.stderr
