"""The report in a real browser, from disk: what it shows is what the tables hold, and nothing is asked of a network."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from sim.metrics import METRICS
from sweep.__main__ import main
from sweep.report.page import packed, read_plots
from sweep.report.pictures import write_pictures
from sweep.report.plots import plots
from sweep.report.points import read_points
from sweep.store.folder import open_folder, open_run
from tests.conftest import sign
from tests.page import unpacked

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
SMALL = ("window_events=320", "replicas=2", "precision=0.1")


@pytest.fixture(scope="module")
def patch(sweep_in: Any) -> Path:
    """A run like the patch's, with its page."""
    return sweep_in("+grid=patch", *SMALL, "draws=8", "report=true")


@pytest.fixture(scope="module")
def grid(sweep_in: Any) -> Path:
    """A sweep over cores, jobs and ceiling, with columns that only richer simulations have."""
    folder = sweep_in(
        "+grid=cores", *SMALL, "policy=[vanilla,xpfo,xpfo_deferred]", "cores=[4,8,16]", "sockets=1",
        "threads_per_core=1", "jobs=[1,2,4]", "ceiling=[0,33,512]",
    )  # fmt: skip
    file = folder / "results.parquet"
    table = pq.ParquetFile(file).read()
    policy, wait = np.array(table["policy"].to_pylist()), table["flush_wait_ns"].to_numpy()
    extra = {
        "stale_window_p99_ns": np.where(policy == "xpfo", wait, np.where(policy == "vanilla", np.nan, 4e6)),
        "nr_tlb_remote_flush_received": np.where(policy == "xpfo", 1e9, 1e6) * table["cores"].to_numpy(),
    }
    for name, values in extra.items():
        if name in table.column_names:
            table = table.drop_columns(name)
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, file)
    sign(folder)
    assert main(["report", str(folder), "--no-plots"]) == 0
    return folder


def opened(browser: webdriver.Chrome, folder: Path) -> dict[str, Any]:
    """Open the page afresh; what it embeds."""
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get((folder / "report.html").as_uri())
    drawn = "return document.documentElement.dataset.drawn === 'yes'"
    WebDriverWait(browser, 30, poll_frequency=0.02).until(lambda it: it.execute_script(drawn))
    return json.loads(unpacked(browser.execute_script("return document.getElementById('data').textContent")))


def drawn(browser: webdriver.Chrome, plot: str) -> pd.DataFrame:
    """The rows that Vega drew of a plot."""
    script = "return document.getElementById(arguments[0]).view.data('rows').map(row => ({...row}))"
    return pd.DataFrame(browser.execute_script(script, f"plot-{plot}"))


def settled(browser: webdriver.Chrome, act: Any) -> None:
    """Do something that draws plots again, and wait until they are."""
    browser.execute_script("for (const each of document.querySelectorAll('.plot')) each.view = null")
    act()
    again = (
        "return [...document.querySelectorAll('.plot')].every(each => each.view || each.className.includes('empty'))"
    )
    WebDriverWait(browser, 30, poll_frequency=0.02).until(lambda it: it.execute_script(again))


def choose(browser: webdriver.Chrome, plot: str, control: str, value: str) -> None:
    """Choose a value in one of a plot's controls."""
    if chosen(browser, plot)[control] == value:
        return
    browser.execute_script(f"document.getElementById('plot-{plot}').view = null")
    place = browser.find_element(By.CSS_SELECTOR, f"#section-{plot} select[aria-label='{control}']")
    next(each for each in place.find_elements(By.TAG_NAME, "option") if each.text == value).click()
    again = f"return document.getElementById('plot-{plot}').view"
    WebDriverWait(browser, 30, poll_frequency=0.02).until(lambda it: it.execute_script(f"{again} !== null"))


def chosen(browser: webdriver.Chrome, plot: str) -> dict[str, str]:
    """What a plot's controls say."""
    selects = browser.find_elements(By.CSS_SELECTOR, f"#section-{plot} .controls select")
    return {each.get_attribute("aria-label"): each.get_attribute("value").strip('"') for each in selects}


@pytest.mark.parametrize("run", ["patch", "grid"])
def test_the_page_opens_from_disk_without_an_error_or_a_request(browser, run, request):
    folder = request.getfixturevalue(run)
    opened(browser, folder)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {(folder / "report.html").as_uri()}
    assert browser.execute_script("return document.querySelectorAll('.plot svg.marks').length") > 0
    assert (folder / "report.html").stat().st_size < 2e6


def test_the_patchs_plot_holds_the_tables_numbers(browser, patch):
    opened(browser, patch)
    table = pd.read_csv(patch / "tables" / "reproduction.csv")
    shown = dict(list(drawn(browser, "measured").groupby("source", sort=False)))
    assert list(shown) == ["measured", "calibrated", "literature"]
    for name, rows in shown.items():
        assert rows["x"].tolist() == pytest.approx(table[f"{name}_s"].tolist(), rel=1e-5)
        if name != "measured":
            assert rows["lo"].tolist() == pytest.approx(table[f"{name}_lo_s"].tolist(), rel=1e-5)
            assert rows["hi"].tolist() == pytest.approx(table[f"{name}_hi_s"].tolist(), rel=1e-5)


def test_the_page_says_on_what_costs_its_numbers_stand(browser, patch, grid):
    opened(browser, patch)
    lead = browser.find_element(By.CLASS_NAME, "lead").text
    assert "“calibrated”, fitted to published times; “literature”, published central values" in lead
    assert "over 8 cost samples" in lead
    opened(browser, grid)
    assert "without the uncertainty of costs" in browser.find_element(By.CLASS_NAME, "lead").text


def test_the_lines_are_the_means_of_the_results_at_one_setting(browser, grid):
    opened(browser, grid)
    results = pd.read_parquet(grid / "results.parquet")
    assert chosen(browser, "lines") == {
        "show": "ratio", "against": "cores", "machine": "xeon_8160", "jobs": "4", "ceiling": "33"
    }  # fmt: skip
    some = results[(results["machine"] == "xeon_8160") & (results["ceiling"] == 33) & (results["jobs"] == 4)]
    for policy, rows in drawn(browser, "lines").groupby("series"):
        wanted = some[some["policy"] == policy].groupby("cores")["ratio"].mean()
        assert rows["x"].tolist() == wanted.index.tolist()
        assert rows["y"].tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_any_metric_is_drawn_against_any_parameter(browser, grid):
    opened(browser, grid)
    results = pd.read_parquet(grid / "results.parquet")
    choose(browser, "lines", "show", "flush_wait_ns")
    choose(browser, "lines", "against", "ceiling")
    choose(browser, "lines", "cores", "8")
    now = chosen(browser, "lines")
    assert {"show", "against", "machine", "cores", "jobs"} == set(now)
    some = results[
        (results["machine"] == "xeon_8160") & (results["cores"] == 8) & (results["jobs"] == float(now["jobs"]))
    ]
    rows = drawn(browser, "lines").query("series == 'xpfo'")
    wanted = some[some["policy"] == "xpfo"].groupby("ceiling")["flush_wait_ns"].mean()
    assert rows["x"].tolist() == wanted.index.tolist() == [0, 33, 512]
    assert rows["y"].tolist() == pytest.approx(wanted.tolist(), rel=1e-5)
    titles = browser.execute_script(
        "return [...document.querySelectorAll('#plot-lines .role-axis-title text')].map(each => each.textContent)"
    )
    assert titles == ["tlb_single_page_flush_ceiling, pages", "mean length of a flush event, on its sender"]


def test_the_heat_map_holds_every_ceiling_and_marks_one_a_row(browser, grid):
    opened(browser, grid)
    results = pd.read_parquet(grid / "results.parquet")
    now = chosen(browser, "ceiling")
    here = (results["policy"] == now["policy"]) & (results["machine"] == now["machine"])
    wanted = results[here & (results["jobs"] == float(now["jobs"]))].groupby(["cores", "ceiling"])["ratio"].mean()
    rows = drawn(browser, "ceiling").set_index(["cores", "ceiling"])["ratio"].sort_index()
    assert rows.index.tolist() == wanted.index.tolist()
    assert rows.tolist() == pytest.approx(wanted.tolist(), rel=1e-5)
    rings = browser.execute_script("return document.querySelectorAll('#plot-ceiling .mark-symbol path').length")
    assert rings == 2 * 3  # white in black, one a row


def fronted(browser: webdriver.Chrome) -> list[str]:
    """The policies that the Pareto front goes through: they are named in the plot."""
    script = (
        "return [...document.querySelectorAll('#plot-front .role-mark.mark-text text')].map(each => each.textContent)"
    )
    return browser.execute_script(script)


def test_the_front_is_of_what_nothing_beats_in_both(browser, grid):
    opened(browser, grid)
    rows = drawn(browser, "front").query("x > 0 and y > 0").sort_values(["x", "y"])
    best = rows[rows["y"].cummin().shift(fill_value=np.inf) > rows["y"]]
    assert len(best) >= 2
    assert sorted(fronted(browser)) == sorted(best["policy"])


def test_policies_that_are_not_ticked_are_grey_in_lines_and_gone_elsewhere(browser, grid):
    opened(browser, grid)
    box = browser.find_element(By.CSS_SELECTOR, "input[name=policy][value=xpfo]")
    settled(browser, box.click)
    for name in ("lines", "front"):
        rows = drawn(browser, name)
        assert set(rows.loc[~rows["lit"].astype(bool), "policy"]) == {"xpfo"}
    legend = (
        "return [...document.querySelectorAll('#plot-lines .role-legend-label text')].map(each => each.textContent)"
    )
    assert set(browser.execute_script(legend)) == {"vanilla", "xpfo_deferred"}
    assert "xpfo_deferred" in browser.find_element(By.ID, "table-points").text
    assert " xpfo " not in browser.find_element(By.ID, "table-points").text


def test_a_table_is_sorted_and_filtered(browser, grid):
    opened(browser, grid)
    ratio = "return [...document.querySelectorAll('#table-points tbody tr')].map(row => row.cells[6].textContent)"
    head = browser.find_elements(By.CSS_SELECTOR, "#table-points th button")
    at = [each.text for each in head].index("ratio")
    assert at == 6
    head[at].click()
    shown = [float(text) for text in browser.execute_script(ratio)]
    assert shown == sorted(shown)
    browser.find_elements(By.CSS_SELECTOR, "#table-points th button")[at].click()
    assert [float(text) for text in browser.execute_script(ratio)] == shown[::-1]
    browser.find_element(By.CSS_SELECTOR, "#section-points input[type=search]").send_keys("xpfo_deferred 512")
    rows = browser.find_elements(By.CSS_SELECTOR, "#table-points tbody tr")
    assert rows
    assert all("xpfo_deferred" in row.text and "512" in row.text for row in rows)


def test_the_front_begins_with_the_setting_that_the_answer_speaks_of(browser, grid):
    opened(browser, grid)
    said = browser.find_element(By.CLASS_NAME, "answer").text
    assert chosen(browser, "front") == {"machine": "xeon_8160", "cores": "16", "jobs": "4", "ceiling": "33"}
    assert "-j4" in said
    results = pd.read_parquet(grid / "results.parquet").query("machine == 'xeon_8160'")
    for control, value in (("cores", "4"), ("jobs", "1"), ("ceiling", "0")):
        choose(browser, "front", control, value)
    some = results[(results["cores"] == 4) & (results["jobs"] == 1) & (results["ceiling"] == 0)]
    for policy, rows in drawn(browser, "front").groupby("policy"):
        assert rows["y"].tolist() == [pytest.approx(some[some["policy"] == policy]["added_s"].mean(), rel=1e-5)]


@pytest.mark.parametrize(("run", "first"), [("patch", "measured"), ("grid", "lines")])
def test_the_first_picture_carries_the_answer(browser, run, first, request):
    embedded = opened(browser, request.getfixturevalue(run))
    assert embedded["plots"][0]["name"] == first
    assert embedded["plots"][-1]["name"] == "points"


@pytest.mark.parametrize("run", ["patch", "grid"])
def test_a_colour_is_one_policy_and_nothing_else(browser, run, request):
    embedded = opened(browser, request.getfixturevalue(run))
    means: dict[str, set[str]] = {}
    for plot in embedded["plots"]:
        for scale in scales(plot.get("spec", {})):
            coloured = dict(zip(scale["domain"], scale["range"], strict=True))
            for name, colour in coloured.items():
                if name not in ("vanilla", "measured"):  # ink
                    means.setdefault(colour, set()).add(name if plot["series"] == "policy" else "no policy")
    assert means
    assert all(len(names) == 1 for names in means.values())


def scales(spec: Any) -> Iterator[dict[str, Any]]:
    """The scales of all colours of a series in a specification."""
    for name, value in spec.items() if isinstance(spec, dict) else enumerate(spec) if isinstance(spec, list) else ():
        if name == "color" and isinstance(value, dict) and value.get("field") == "series":
            yield value["scale"]
        else:
            yield from scales(value)


@pytest.mark.parametrize("run", ["patch", "grid"])
def test_a_telephone_shows_all_of_a_plot(browser, run, request):
    try:
        form = {"width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", form)
        opened(browser, request.getfixturevalue(run))
        ends = "[...document.querySelectorAll('.plot svg')].map(each => each.getBoundingClientRect().right)"
        assert max(browser.execute_script(f"return [document.documentElement.scrollWidth, ...{ends}]")) <= 420
        assert not browser.find_element(By.ID, "filters").is_displayed()
        browser.find_element(By.CSS_SELECTOR, "#filtering summary").click()
        assert browser.find_element(By.ID, "filters").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("length", range(9))
def test_what_is_packed_is_unpacked_and_ends_no_script(length):
    text = "</<!--&\u00b5\U0001f600"[:length] * 40
    assert unpacked(packed(text)) == text
    assert not set("<\"'\\") & set(packed(text))


def test_a_machine_is_filtered_in_every_plot(browser, patch):
    opened(browser, patch)
    settled(browser, browser.find_element(By.CSS_SELECTOR, "input[name=machine][value=i5_3550]").click)
    for name in ("measured", "parts"):
        assert drawn(browser, name)["y"].str.contains("xeon_8160").all()


def test_every_plots_data_are_one_click_away(browser, grid):
    embedded = opened(browser, grid)
    links = browser.find_elements(By.CSS_SELECTOR, "a.csv")
    assert len(links) == len(embedded["plots"])
    for link, plot in zip(links, embedded["plots"], strict=True):
        assert link.get_attribute("download") == f"{plot['name']}.csv"
        browser.execute_script(
            "arguments[0].addEventListener('click', e => e.preventDefault()); arguments[0].click()", link
        )
        text = urllib.parse.unquote(link.get_attribute("href").partition(",")[2])
        rows = list(csv.DictReader(io.StringIO(text)))
        assert list(rows[0]) == plot["columns"]
        columns = embedded["tables"][plot["table"]]
        here = pd.DataFrame({name: columns[name] for name in plot["columns"]})
        for name in plot["fixed"]:
            here = here[here[name] == plot["chosen"][name]]
        assert len(rows) == len(here) > 0


def test_markup_in_a_configuration_stays_text(browser, tmp_path, patch):
    folder = tmp_path / "run"
    shutil.copytree(patch, folder)
    run = json.loads((folder / "run.json").read_text())
    run |= {"question": f"Why {HOSTILE}?", "grid": HOSTILE, "command": HOSTILE, "commit": HOSTILE}
    run["points"]["machines"] = [HOSTILE]
    run["points"]["blocks"][0][HOSTILE] = [HOSTILE]
    run["versions"][HOSTILE] = HOSTILE
    (folder / "run.json").write_text(json.dumps(run))
    results = pd.read_parquet(folder / "results.parquet")
    results.loc[results["machine"] == "i5_3550", ["machine", "workload"]] = HOSTILE
    results.to_parquet(folder / "results.parquet")
    sign(folder)
    table = pd.read_parquet(folder / "tables" / "reproduction.parquet").replace("i5_3550", HOSTILE)
    table.to_parquet(folder / "tables" / "reproduction.parquet")
    assert main(["report", str(folder), "--no-plots"]) == 0
    embedded = opened(browser, folder)
    assert browser.get_log("browser") == []
    assert browser.title == f"{HOSTILE}: Why {HOSTILE}?"
    assert browser.find_element(By.TAG_NAME, "h1").text == f"Why {HOSTILE}?"
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 4  # data, Vega packed and unpacked, page.js
    assert HOSTILE in browser.find_element(By.ID, "filters").text
    assert HOSTILE in embedded["tables"][embedded["plots"][0]["table"]]["machine"]
    assert any("<script>" in text for text in browser.execute_script(
        "return [...document.querySelectorAll('#plot-measured text')].map(t => t.textContent)"
    ))  # fmt: skip


def test_both_themes_are_reachable_by_keyboard(browser, patch):
    opened(browser, patch)
    paper = "return getComputedStyle(document.body).backgroundColor"
    assert browser.execute_script(paper) == "rgb(255, 255, 255)"
    active = browser.switch_to.active_element
    for _ in range(2):
        active.send_keys("\ue004")  # Tab: the skip link, then the theme
        active = browser.switch_to.active_element
    assert active.get_attribute("id") == "theme"
    settled(browser, lambda: active.send_keys(" "))
    assert browser.execute_script(paper) == "rgb(20, 23, 27)"
    ink = "return document.querySelector('#plot-measured .role-axis-label text').getAttribute('fill')"
    assert browser.execute_script(ink) == "#e8eaed"
    reached = set()
    for _ in range(30):
        active = browser.switch_to.active_element
        reached.add(active.get_attribute("name") or active.tag_name)
        active.send_keys("\ue004")
    assert {"machine", "policy", "summary", "a", "select"} <= reached


def test_paper_is_light_whatever_the_theme(browser, patch):
    opened(browser, patch)
    settled(browser, browser.find_element(By.ID, "theme").click)
    ink = "return document.querySelector('#plot-measured .role-axis-label text').getAttribute('fill')"
    assert browser.execute_script(ink) == "#e8eaed"
    settled(browser, lambda: browser.execute_script("window.dispatchEvent(new Event('beforeprint'))"))
    assert browser.execute_script(ink) == "#1b1f24"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element(By.ID, "theme").is_displayed()
    assert not browser.find_element(By.CSS_SELECTOR, "a.csv").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    settled(browser, lambda: browser.execute_script("window.dispatchEvent(new Event('afterprint'))"))
    assert browser.execute_script(ink) == "#e8eaed"


def test_the_page_begins_with_the_answer(browser, patch, grid):
    opened(browser, patch)
    said = browser.find_element(By.CLASS_NAME, "answer").text.splitlines()
    assert said == (patch / "tables" / "answer.txt").read_text().splitlines()
    table = pd.read_csv(patch / "tables" / "reproduction.csv").set_index(["machine", "policy"])
    simulated = table.loc[("xeon_8160", "xpfo_deferred"), "calibrated_s"]
    assert said[0].startswith("With costs=calibrated: ")
    assert f"xpfo_deferred on xeon_8160 {simulated:,.0f} s simulated, 1,373 s measured" in said[0]
    opened(browser, grid)
    said = browser.find_element(By.CLASS_NAME, "answer").text
    assert said.splitlines() == (grid / "tables" / "answer.txt").read_text().splitlines()


def test_what_the_run_was_and_what_is_not_modelled_stand_on_the_page(browser, patch):
    opened(browser, patch)
    text = browser.find_element(By.TAG_NAME, "body").text
    run = json.loads((patch / "run.json").read_text())
    for wanted in (run["question"], run["command"], "numpy", "page-lock contention", "25073.169 s is not"):
        assert wanted in text
    assert len(browser.find_elements(By.CSS_SELECTOR, "#caveats ol li")) == 7


def test_a_report_needs_neither_ray_nor_hydra(patch):
    script = (
        "import sys; from sweep.__main__ import main; code = main(['report', sys.argv[1], '--no-plots']);"
        "print(code, [m for m in ('ray', 'hydra', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(patch)], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none")]) == 2
    assert main(["report", str(tmp_path)]) == 2
    assert "it has no run.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_same_plots_are_pictures(grid, patch, tmp_path):
    kinds: dict[str, Any] = {}
    for run in (patch, grid):
        for plot in read_plots(open_run(str(run))):
            kinds.setdefault(plot.kind, plot)
    names = write_pictures(open_folder(str(tmp_path)), list(kinds.values()))
    stems = {name.removeprefix("plots/").rpartition(".")[0] for name in names}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        f"{stem}.{form}" for stem in stems for form in ("png", "svg")
    }
    assert {"measured", "parts"} <= stems
    assert all(any(stem.startswith(f"{kind}-") for stem in stems) for kind in ("ceiling", "front"))
    for path in (tmp_path / "plots").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert 5_000 < path.stat().st_size < 1_000_000


def test_the_command_makes_page_and_pictures(patch, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(patch, folder)
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    said = capsys.readouterr().out.split()
    for name in ("report.html", "plots/measured.png", "plots/measured.svg", "plots/parts.png"):
        assert str(folder / name) in said
        assert (folder / name).is_file()


def test_one_metric_is_drawn_against_one_parameter_by_a_command(grid, tmp_path, capsys):
    words = ["y=flush_wait_ns", "x=cores", "policy=[xpfo,xpfo_deferred]", "ceiling=512"]
    assert main(["plot", str(grid), *words, "--out", str(tmp_path)]) == 0
    files = capsys.readouterr().out.split()
    assert files == [str(tmp_path / "plots" / f"flush_wait_ns-cores.{form}") for form in ("png", "svg")]
    text = Path(files[1]).read_text()
    for said in ("xeon_8160", "ceiling 512", "Simulated with sweep.", "a band is their 95 % interval"):
        assert said in text
    results = pd.read_parquet(grid / "results.parquet").query("ceiling == 512 and machine == 'xeon_8160' and jobs == 4")
    for policy in ("xpfo", "xpfo_deferred"):
        for cores, wanted in results[results["policy"] == policy].groupby("cores")["flush_wait_ns"].mean().items():
            label = next(each for each in re.findall(r'aria-label="([^"]*)"', text) if f"policy: {policy};" in each
                         and f"cores: {cores:g};" in each)  # fmt: skip
            shown = float(re.search(r"flush_wait_ns: ([\d.,]+)", label)[1].replace(",", ""))
            assert shown == pytest.approx(wanted, rel=1e-6)


def test_numbers_are_names_of_lines(grid, tmp_path, capsys):
    assert main(["plot", str(grid), "x=ceiling", "by=cores", "policy=xpfo", "--out", str(tmp_path)]) == 0
    text = Path(capsys.readouterr().out.split()[1]).read_text()
    assert {"4", "8", "16"} <= set(re.findall(r"cores: (\d+)", text))


@pytest.mark.parametrize(("words", "said"), [
    (["y=ratioo"], "y=ratioo: must be one of this run's; did you mean 'ratio'?"),
    (["x=policy"], "x=policy: must be one of this run's; there are: ceiling, cores, jobs"),
    (["policy=xpf"], "policy=xpf: must be one of this run's; did you mean 'xpfo'?"),
    (["cores=4", "cores=8"], "cores: is given twice; a list is cores=[a,b]"),
    (["cores"], "'cores': must be KEY=VALUE, like y=flush_wait_ns"),
    (["corse=4"], "unknown key 'corse'; did you mean 'cores'?"),
    (["x=cores", "cores=4"], "nothing to draw against cores: every line has one point"),
])  # fmt: skip
def test_a_plot_that_cannot_be_is_one_line_and_no_file(grid, tmp_path, capsys, words, said):
    assert main(["plot", str(grid), *words, "--out", str(tmp_path / "none")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_two_runs_are_one_page(browser, grid, patch, tmp_path, capsys):
    assert main(["report", str(grid), str(patch)]) == 2
    assert "give the page's folder by --out DIR" in capsys.readouterr().err
    assert main(["report", str(grid), str(patch), "--out", str(tmp_path), "--no-plots"]) == 0
    opened(browser, tmp_path)
    assert browser.get_log("browser") == []
    choose(browser, "front", "run", patch.name)
    choose(browser, "front", "machine", "i5_3550")
    rows = drawn(browser, "front")
    assert set(rows["run"]) == {patch.name}
    assert set(rows["machine"]) == {"i5_3550"}
    note = browser.find_element(By.CSS_SELECTOR, "#section-lines .note").text
    assert "Means over replicas" in note  # of one run
    assert "Medians over cost samples" in note  # of the other
    answer = browser.find_element(By.CLASS_NAME, "answer").text
    assert f"{grid.name}: " in answer
    assert f"{patch.name}: " in answer


def test_every_plot_of_binned_values_says_so(grid):
    points, own = read_points(pq.ParquetFile(grid / "results.parquet"))
    points["ceiling"] = np.linspace(1, 500, len(points))  # no two points alike, as where values are drawn at random
    made = {plot.kind: plot for plot in plots(points, own, {})}
    for kind in ("lines", "front", "heat", "table"):
        assert "ceiling is in 64 bins; each shows its median." in made[kind].note


def test_a_page_needs_no_cache(patch, tmp_path, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sweep.report.pictures.write_own", full)
    assert main(["report", str(patch), "--no-plots", "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "report.html").stat().st_size > 300_000


@pytest.mark.long
def test_a_million_rows_are_aggregated_and_the_page_says_so(tmp_path, patch, browser):
    rng = np.random.default_rng(0)
    points, replicas = 250_000, 4
    n = points * replicas
    point = np.repeat(np.arange(points), replicas)
    cores = 2.0 ** (np.arange(points) % 8)
    refill = rng.uniform(100, 5000, points)
    columns = {
        "point": point, "replica": np.tile(np.arange(replicas, dtype=np.int32), points),
        "policy": np.array(["vanilla", "xpfo", "xpfo_deferred"], dtype=object)[np.arange(points) // 8 % 3][point],
        "machine": np.full(n, "xeon_8160", dtype=object), "workload": np.full(n, "kernel_build", dtype=object),
        "cores": cores[point], "jobs": cores[point], "refill_ns": refill[point],
        "ceiling": rng.integers(0, 4096, points).astype(float)[point],
    }  # fmt: skip
    columns["ratio"] = 1 + columns["cores"] / 10 + rng.normal(0, 0.01, n)
    for name in ("system_time_s", "added_s", "wall_time_s", "flush_wait_ns", "stale_window_p99_ns"):
        columns[name] = columns["ratio"] * 1000
    columns["overhead_ns_per_operation"] = np.full(n, np.nan)
    folder = tmp_path / "run"
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "results.parquet")
    sign(folder)
    shutil.copy(patch / "run.json", folder)
    assert main(["report", str(folder), "--no-plots"]) == 0
    assert (folder / "report.html").stat().st_size < 2e6
    embedded = opened(browser, folder)
    assert {plot["name"] for plot in embedded["plots"]} >= {"lines", "ceiling", "front"}
    assert all(len(next(iter(table.values()))) <= 24_000 for table in embedded["tables"])
    notes = " ".join(each.text for each in browser.find_elements(By.CLASS_NAME, "note"))
    assert "refill_ns is in 64 bins" in notes
    assert re.search(r"The page has \d+ of \d+ values of refill_ns", notes)


def test_a_point_is_the_mean_of_its_replicas_whatever_the_order_of_rows(grid, tmp_path):
    results = pd.read_parquet(grid / "results.parquet")
    shuffled = tmp_path / "shuffled.parquet"
    results.sample(frac=1.0, random_state=1).to_parquet(shuffled)
    points, own = read_points(pq.ParquetFile(shuffled))
    assert own == ["cores", "jobs", "ceiling"]
    wanted = results.groupby("point")["ratio"]
    assert points["ratio"].tolist() == pytest.approx(wanted.mean().tolist())
    half = 12.706 * wanted.std() / math.sqrt(2)
    assert (points["ratio_hi"] - points["ratio"]).tolist() == pytest.approx(half.tolist(), abs=1e-6)


def test_a_sweep_of_one_point_has_no_lines(sweep_in):
    folder = sweep_in("+grid=point", *SMALL)
    made = plots(*read_points(pq.ParquetFile(folder / "results.parquet")), {})
    assert {plot.name for plot in made} >= {"parts", "points"}
    assert not [plot.name for plot in made if plot.kind == "lines"]


def test_names_that_are_words_of_javascript_or_formulas_stay_names(browser, tmp_path, patch):
    folder = tmp_path / "run"
    shutil.copytree(patch, folder)
    results = pd.read_parquet(folder / "results.parquet")
    names = {"xpfo": "constructor", "xpfo_deferred": "=HYPERLINK(1)", "xpfo_no_flush": "$\\frac{ </script><!--"}
    results["policy"] = results["policy"].replace(names)
    results["machine"] = results["machine"].replace({"i5_3550": "__proto__"})
    results.to_parquet(folder / "results.parquet")
    sign(folder)
    assert main(["tables", str(folder)]) == 0
    assert main(["report", str(folder), "--no-plots"]) == 0
    opened(browser, folder)
    assert browser.get_log("browser") == []
    filters = browser.find_element(By.ID, "filters").text
    assert all(name in filters for name in [*(name for name in names.values() if name in set(results["policy"]))])
    browser.execute_script(
        "for (const each of document.querySelectorAll('a.csv')) {"
        " each.addEventListener('click', event => event.preventDefault()); each.click() }"
    )
    links = [link.get_attribute("href") for link in browser.find_elements(By.CSS_SELECTOR, "a.csv")]
    texts = [urllib.parse.unquote(link.partition(",")[2]) for link in links]
    cells = [cell for text in texts for line in csv.reader(io.StringIO(text)) for cell in line]
    assert "'=HYPERLINK(1)" in cells
    assert not [cell for cell in cells if re.match(r"[=@\t\r]|[+-](?![0-9.]|inf)", cell)]
    colours = browser.execute_script("return [...document.querySelectorAll('.swatch')].map(e => e.style.background)")
    assert all(colours)


@pytest.mark.parametrize("all_failed", [False, True])
def test_a_run_whose_points_failed_has_a_page_without_an_error(browser, tmp_path, grid, all_failed):
    folder = tmp_path / "run"
    shutil.copytree(grid, folder)
    results = pd.read_parquet(folder / "results.parquet")
    failed = (results["ceiling"] == 33) | all_failed
    results.loc[failed, list(METRICS)] = np.nan
    results.loc[failed, "status"] = "failed: ZeroDivisionError"
    results.to_parquet(folder / "results.parquet")
    sign(folder)
    assert main(["tables", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    opened(browser, folder)
    assert browser.get_log("browser") == []
    points = results["point"].nunique()
    sentence = f"All {points} points failed" if all_failed else f"{points // 3} of {points} points failed"
    assert sentence in browser.find_element(By.ID, "section-points").text
    assert sentence in browser.find_element(By.CLASS_NAME, "lead").text
    assert (sentence in browser.find_element(By.CLASS_NAME, "answer").text) == all_failed
    pictures = browser.execute_script("return document.querySelectorAll('.plot svg.marks').length")
    assert (pictures > 0) != all_failed
