"""`sweep explore`: what its page shows of a setting, and the page itself in a real browser."""

import importlib.util
import json
import math
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import Select, WebDriverWait

import sweep
from sweep.__main__ import main
from sweep.command import explored
from sweep.command.explored import Setting
from sweep.command.verbs import explore

pytestmark = pytest.mark.xdist_group(__name__)

SMALL = Setting("i5_3550", 4, 4)
AT_A_RATE = replace(SMALL, jobs=None, senders=2)
FEW = ["vanilla", "xpfo", "xpfo_deferred"]
DEEP = """
const found = []  // also in shadow roots
const walk = root => {
  for (const each of root.querySelectorAll('*')) {
    if (each.matches(arguments[0])) found.push(each)
    if (each.shadowRoot) walk(each.shadowRoot)
  }
}
walk(document)
return found"""


@pytest.mark.parametrize("setting", [SMALL, AT_A_RATE], ids=["build", "rate"])
def test_a_setting_has_a_row_and_a_mark_for_each_policy(setting):
    table, said = explored.points(setting, FEW)
    assert said == []
    assert table["policy"].tolist() == FEW
    drawn = explored.picture(table, setting)
    assert {row["series"]: row["y"] for row in drawn["datasets"]["rows"]} == dict(
        zip(FEW, table[setting.cost], strict=True)
    )
    listed = explored.listed(table, setting)
    assert listed["policy"].tolist() == FEW
    assert listed.notna().all(axis=None)
    assert (table[f"{setting.cost}_lo"] < table[f"{setting.cost}_hi"]).tolist() == [False, True, True]


def test_the_numbers_are_those_of_simulate():
    table, _ = explored.points(SMALL, ["xpfo"])
    same = sweep.simulate(policy="xpfo", **SMALL.keys, **explored.effort("xpfo", SMALL))
    assert table["added_s"].tolist() == same.loc[same["draw"] == 0, "added_s"].tolist()


def test_a_policy_that_the_machine_cannot_have_is_one_line_and_the_others_stay():
    table, said = explored.points(SMALL, ["xpfo_broadcast", "xpfo_deferred"])
    assert table["policy"].tolist() == ["xpfo_deferred"]
    assert len(said) == 1
    assert said[0].startswith("xpfo_broadcast is left out: policy xpfo_broadcast needs broadcast_ns")
    assert "\n" not in said[0]


def test_without_a_policy_nothing_is_drawn():
    table, said = explored.points(SMALL, [])
    assert explored.picture(table, SMALL) is None
    assert said == []
    assert explored.listed(table, SMALL).empty
    assert explored.sentences(table, SMALL) == ["Nothing was simulated."]


def test_the_sentences_name_the_setting_the_costs_and_what_is_beyond_the_measurements():
    table, _ = explored.points(SMALL, FEW)
    said = " ".join(explored.sentences(table, SMALL))
    assert "make -j4 on i5_3550 (Intel Core i5-3550, 4 cores, 8 GB) with 4 CPUs in 1 socket." in said
    assert "Costs: “calibrated”, fitted to published times. Bands are over 8 cost samples." in said
    assert "Builds were measured on i5_3550 and xeon_8160 alone." in said
    large = Setting("xeon_8s", 448, 448)
    said = " ".join(explored.sentences(explored.points(large, ["xpfo", "xpfo_deferred"])[0], large))
    assert "no build was measured on more than 96 CPUs" in said
    assert "Without a band, which would take longer than a second: xpfo." in said


def test_effort_falls_with_cpus_and_never_below_what_a_lane_needs():
    known = explored.machines(None)
    for name, machine in known.items():
        for cores in explored.cpu_counts(machine):
            given = explored.effort("xpfo", Setting(name, cores, cores))
            assert given["window_events"] >= explored.LEAST_EVENTS
            assert given["warmup_events"] >= cores
        assert explored.size(machine, "cores") in explored.cpu_counts(machine)
    work = [explored.effort("xpfo", Setting(cores=cores))["window_events"] for cores in (4, 32, 448)]
    assert work == sorted(work, reverse=True)
    slow, fast = (replace(AT_A_RATE, cores=96, rate_per_s=rate) for rate in (1000, 500_000))
    slow, fast = (explored.effort("xpfo_kernel_entry", each)["window_events"] for each in (slow, fast))
    assert slow < fast


@pytest.mark.parametrize("setting", [SMALL, AT_A_RATE], ids=["build", "rate"])
def test_the_command_that_the_page_names_is_one(setting, capsys):
    words = shlex.split(explored.command(setting, FEW))
    assert main([*words[1:], "dry_run=true"]) == 0
    assert "points     3 x 8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--port", "99999999"], "--port=99999999"),
        (["--config-dir", "nowhere"], "--config-dir=nowhere: no such folder"),
        (["--port", "x"], "invalid int value"),
    ],
)
def test_a_mistake_is_one_line(arguments, wanted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "--no-browser", *arguments]) == 2
    said = capsys.readouterr().err
    assert wanted in said
    assert said.count("\n") == 1


def test_without_marimo_the_command_names_the_extra(monkeypatch, capsys):
    there = importlib.util.find_spec
    monkeypatch.setattr("sweep.command.verbs.explore.find_spec", lambda name: None if name == "marimo" else there(name))
    assert main(["explore"]) == 2
    assert capsys.readouterr().err == "sweep: sweep explore needs marimo: pip install 'xpfo-sweep[explore]'\n"


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of a page that is served."""
    command = [sys.executable, "-m", "sweep", "explore", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.send_signal(signal.SIGINT)
    try:
        _, said = server.communicate(timeout=20)
    finally:
        server.kill()
    assert server.returncode == 130
    assert said.splitlines()[-1] == "sweep: stopped by SIGINT"
    assert "Traceback" not in said


def wait(browser: webdriver.Chrome, until: Any) -> Any:
    return WebDriverWait(browser, 60, poll_frequency=0.05).until(until)


def text_of(browser: webdriver.Chrome) -> str:
    return str(browser.execute_script("return document.body.innerText"))


def first(browser: webdriver.Chrome, selector: str, what: str) -> str:
    """An expression in JavaScript of the first such element, `it`; empty where there is none."""
    find = DEEP.replace("arguments[0]", "selector")
    script = f"const find = selector => {{{find}}}\nconst it = find(arguments[0])[0]\nreturn it ? {what} : ''"
    return str(browser.execute_script(script, selector))


def picture_of(browser: webdriver.Chrome) -> str:
    """The drawn pixels; empty where nothing is drawn yet."""
    return first(browser, "canvas.marks", "it.toDataURL()")


def table_of(browser: webdriver.Chrome) -> str:
    return first(browser, "table", "it.innerText")


def test_the_page_simulates_another_machine_and_asks_no_network(page, browser):
    address = urlsplit(page)
    assert address.hostname == "127.0.0.1"
    browser.get(page)
    wait(browser, picture_of)
    wait(browser, lambda it: "on xeon_8160" in text_of(it))
    before, rows = picture_of(browser), table_of(browser)
    assert "xpfo_deferred" in rows
    Select(browser.execute_script(DEEP, "select")[0]).select_by_visible_text("i5_3550")
    wait(browser, lambda it: "on i5_3550" in text_of(it) and picture_of(it) not in ("", before))
    assert table_of(browser) not in ("", rows)
    assert "with 4 CPUs in 1 socket." in text_of(browser)
    browser.execute_script(DEEP, "[role=radio]")[1].click()
    wait(browser, lambda it: "5,000 flush events a second" in text_of(it))
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    asked += [each["params"]["url"] for each in events if each["method"] == "Network.webSocketCreated"]
    places = {urlsplit(url).netloc for url in asked if url.startswith(("http", "ws"))}
    assert places == {address.netloc}


def test_nobody_reads_the_page_without_its_token_or_from_elsewhere(page):
    address = urlsplit(page)
    with urllib.request.urlopen(f"http://{address.netloc}/", timeout=10) as answer:
        assert "/auth/login" in answer.url
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://{address.netloc}/api/status", timeout=10)
    listening = Path("/proc/net/tcp")
    if listening.exists():
        lines = [line.split() for line in listening.read_text().splitlines()[1:]]
        places = {place for _, place, _, state, *_ in lines if place.endswith(f":{address.port:04X}") and state == "0A"}
        assert places == {f"0100007F:{address.port:04X}"}


@pytest.mark.parametrize("name", ["i5_3550", "xeon_8s"])
def test_an_answer_takes_about_a_second(name):
    cores = explored.size(explored.machines(None)[name], "cores")
    slowest = 0.0
    for setting in (Setting(name, cores, cores), Setting(name, cores, None, 1000, cores)):
        explored.points(replace(setting, rate_per_s=2000, jobs=setting.jobs and cores - 1), explored.FIRST)  # loads
        begin = time.process_time()
        explored.points(setting, explored.FIRST)
        slowest = max(slowest, time.process_time() - begin)
    assert slowest < 3.0  # of a busy machine; a second and less on an idle one
    assert math.isfinite(slowest)


def test_the_command_ends_as_by_ctrl_c_also_if_the_server_has_caught_the_signal(monkeypatch):
    monkeypatch.setattr(explore, "_serve", lambda *_: None)
    assert main(["explore", "--no-browser"]) == 130
