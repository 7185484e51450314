"""The report in a real browser, from disk: what it shows is what the tables hold, and nothing is asked of a network."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
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
from sweep.report.page import packed, read_plots, unpacked
from sweep.report.pictures import write_pictures
from sweep.report.plots import plots
from sweep.report.points import read_points
from sweep.store.folder import open_folder, open_run
from tests.conftest import sign

pytestmark = pytest.mark.xdist_group(__name__)  # so that its fixtures are made once

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
SMALL = ("window_events=320", "replicas=2", "precision=0.1")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1200,1600"
).split()


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    missing = [path for path in (CHROMIUM, CHROMEDRIVER) if not Path(path).exists()]
    if missing and "REQUIRE_BROWSER" not in os.environ:  # which .ci/run sets
        pytest.skip(f"{missing[0]} is missing: apt-get install chromium chromium-driver")
    assert not missing
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    folder = tempfile.mkdtemp()
    for flag in [*FLAGS, f"--user-data-dir={folder}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    yield driver
    driver.quit()
    shutil.rmtree(folder, ignore_errors=True)


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


def traces(browser: webdriver.Chrome, plot: str) -> list[dict[str, Any]]:
    """What Plotly was given for a plot, without bands."""
    script = (
        "return document.getElementById(arguments[0]).data.filter(t => t.meta !== 'band')"
        ".map(t => ({name: t.name, meta: t.meta, x: [...t.x], y: [...t.y], z: t.z}))"
    )
    return browser.execute_script(script, f"plot-{plot}")


@pytest.mark.parametrize("run", ["patch", "grid"])
def test_the_page_opens_from_disk_without_an_error_or_a_request(browser, run, request):
    folder = request.getfixturevalue(run)
    opened(browser, folder)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {(folder / "report.html").as_uri()}
    drawn = browser.execute_script("return document.querySelectorAll('.plot .main-svg').length")
    assert drawn > 0
    assert (folder / "report.html").stat().st_size < 2e6


def test_the_patchs_plot_holds_the_tables_numbers(browser, patch):
    opened(browser, patch)
    table = pd.read_csv(patch / "tables" / "reproduction.csv")
    shown = {trace["name"]: trace for trace in traces(browser, "measured")}
    assert shown["measured"]["x"] == pytest.approx(table["measured_s"].tolist(), rel=1e-5)
    assert list(shown) == ["measured", "calibrated", "literature"]
    assert shown["literature"]["x"] == pytest.approx(table["literature_s"].tolist(), rel=1e-5)
    assert shown["calibrated"]["x"] == pytest.approx(table["calibrated_s"].tolist(), rel=1e-5)
    spans = browser.execute_script(
        "const e = document.getElementById('plot-measured').data.find(t => t.name === 'calibrated').error_x;"
        "return [[...e.array], [...e.arrayminus]]"
    )
    assert spans[0] == pytest.approx((table["calibrated_hi_s"] - table["calibrated_s"]).tolist(), abs=0.1)
    assert spans[1] == pytest.approx((table["calibrated_s"] - table["calibrated_lo_s"]).tolist(), abs=0.1)


def test_the_page_says_on_what_costs_its_numbers_stand(browser, patch, grid):
    opened(browser, patch)
    lead = browser.find_element(By.CLASS_NAME, "lead").text
    assert "“calibrated”, fitted to published times, central published ones, nothing fitted" in lead
    assert "over 8 draws of the costs" in lead
    opened(browser, grid)
    assert "hold no uncertainty of costs" in browser.find_element(By.CLASS_NAME, "lead").text


def test_the_lines_are_the_means_of_the_results(browser, grid):
    opened(browser, grid)
    results = pd.read_parquet(grid / "results.parquet")
    chosen = browser.execute_script("return document.querySelector('#section-ratio_cores select').value")
    assert chosen == "xeon_8160, ceiling 33, -j4"
    some = results[(results["machine"] == "xeon_8160") & (results["ceiling"] == 33) & (results["jobs"] == 4)]
    shown = traces(browser, "ratio_cores")
    assert {trace["meta"] for trace in shown} == {"vanilla", "xpfo", "xpfo_deferred"}
    for trace in shown:
        wanted = some[some["policy"] == trace["meta"]].groupby("cores")["ratio"].mean()
        assert trace["x"] == wanted.index.tolist()
        assert trace["y"] == pytest.approx(wanted.tolist(), rel=1e-5)


def test_the_heat_map_holds_every_ceiling_and_marks_one_a_row(browser, grid):
    opened(browser, grid)
    results = pd.read_parquet(grid / "results.parquet")
    heat, *best = traces(browser, "ceiling")
    chosen = browser.execute_script("return document.querySelector('#section-ceiling select').value")
    policy, machine, jobs = chosen.split(", ")
    here = (results["policy"] == policy) & (results["machine"] == machine)
    some = results[here & (results["jobs"] == float(jobs.removeprefix("-j")))]
    wanted = some.pivot_table(index="cores", columns="ceiling", values="ratio")
    assert heat["x"] == ["0", "33", "512"]
    assert np.array(heat["z"]) == pytest.approx(wanted.to_numpy(), rel=1e-5)
    assert [trace["y"] for trace in best] == [["4", "8", "16"]] * 2


def test_the_front_follows_the_filter(browser, grid):
    opened(browser, grid)
    before = next(trace for trace in traces(browser, "front") if trace["meta"] == "front")
    assert len(before["x"]) >= 2
    browser.find_element(By.CSS_SELECTOR, "input[name=policy][value=xpfo]").click()
    after = {trace["meta"]: trace for trace in traces(browser, "front")}
    assert set(after) == {"front", "xpfo_deferred"}
    assert len(after["front"]["x"]) == 1
    assert {trace["meta"] for trace in traces(browser, "ratio_cores")} == {"vanilla", "xpfo_deferred"}
    assert "xpfo_deferred" in browser.find_element(By.ID, "table-points").text
    assert " xpfo " not in browser.find_element(By.ID, "table-points").text


def test_one_setting_has_one_front_and_it_begins_with_the_one_that_the_answer_speaks_of(browser, grid):
    opened(browser, grid)
    said = browser.find_element(By.CLASS_NAME, "answer").text
    chosen = "return document.querySelector('#section-front select').value"
    assert browser.execute_script(chosen) == "xeon_8160, 16 CPUs, -j4, ceiling 33"
    assert "-j4" in said
    results = pd.read_parquet(grid / "results.parquet").query("machine == 'xeon_8160'")
    options = browser.find_elements(By.CSS_SELECTOR, "#section-front select option")
    next(each for each in options if each.text == "xeon_8160, 4 CPUs, -j1, ceiling 0").click()
    some = results[(results["cores"] == 4) & (results["jobs"] == 1) & (results["ceiling"] == 0)]
    for trace in traces(browser, "front"):
        if trace["meta"] != "front":
            wanted = some[some["policy"] == trace["meta"]]["added_s"].mean()
            assert trace["y"] == [pytest.approx(wanted, rel=1e-5)]


@pytest.mark.parametrize(("run", "first"), [("patch", "measured"), ("grid", "ratio_cores")])
def test_the_first_picture_carries_the_answer(browser, run, first, request):
    embedded = opened(browser, request.getfixturevalue(run))
    assert embedded["plots"][0]["name"] == first
    assert embedded["plots"][-1]["name"] == "points"


@pytest.mark.parametrize("run", ["patch", "grid"])
def test_a_colour_is_one_policy_and_nothing_else(browser, run, request):
    embedded = opened(browser, request.getfixturevalue(run))
    used = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map(p => [p.id, p.data.filter(t => t.marker?.color && t.meta)"
        ".map(t => [t.meta, t.marker.color])])"
    )
    series = {f"plot-{plot['name']}": plot["series"] for plot in embedded["plots"]}
    means: dict[str, set[str]] = {}
    for plot, marks in used:
        colours = [colour for name, colour in marks if name != "best"]
        assert len(set(colours)) == len({name for name, _ in marks if name != "best"})
        for name, colour in marks:
            if name not in ("vanilla", "measured", "best"):  # ink
                means.setdefault(colour, set()).add(name if series[plot] == "policy" else "no policy")
    assert means
    assert all(len(names) == 1 for names in means.values())


@pytest.mark.parametrize("run", ["patch", "grid"])
def test_a_telephone_shows_all_of_a_plot(browser, run, request):
    try:
        form = {"width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", form)
        opened(browser, request.getfixturevalue(run))
        ends = "[...document.querySelectorAll('.main-svg')].map(each => each.getBoundingClientRect().right)"
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
    assert not set("<\"'\\/") & set(packed(text))


def test_a_machine_is_filtered_in_every_plot(browser, patch):
    opened(browser, patch)
    browser.find_element(By.CSS_SELECTOR, "input[name=machine][value=i5_3550]").click()
    for name in ("measured", "parts"):
        assert all("xeon_8160" in what for trace in traces(browser, name) for what in trace["y"])


def test_every_plots_data_are_one_click_away(browser, grid):
    embedded = opened(browser, grid)
    links = browser.find_elements(By.CSS_SELECTOR, "a.csv")
    assert len(links) == len(embedded["plots"])
    for link, plot in zip(links, embedded["plots"], strict=True):
        assert link.get_attribute("download") == f"{plot['name']}.csv"
        text = urllib.parse.unquote(link.get_attribute("href").partition(",")[2])
        rows = list(csv.DictReader(io.StringIO(text)))
        assert list(rows[0]) == [column["name"] for column in plot["columns"]]
        assert len(rows) == len(plot["columns"][0]["values"])


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
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 4  # data, Plotly packed and unpacked, page.js
    assert HOSTILE in browser.find_element(By.ID, "filters").text
    assert HOSTILE in embedded["plots"][0]["columns"][0]["values"]
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
    active.send_keys(" ")
    assert browser.execute_script(paper) == "rgb(20, 23, 27)"
    drawn = "return document.getElementById('plot-measured').layout.font.color"
    assert browser.execute_script(drawn) == "#e8eaed"
    reached = set()
    for _ in range(30):
        active = browser.switch_to.active_element
        reached.add(active.get_attribute("name") or active.tag_name)
        active.send_keys("\ue004")
    assert {"machine", "policy", "summary", "a", "select"} <= reached


def test_paper_is_light_whatever_the_theme(browser, patch):
    opened(browser, patch)
    browser.find_element(By.ID, "theme").click()
    drawn = "return document.getElementById('plot-measured').layout.font.color"
    assert browser.execute_script(drawn) == "#e8eaed"
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(drawn) == "#1b1f24"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not browser.find_element(By.ID, "theme").is_displayed()
    assert not browser.find_element(By.CSS_SELECTOR, "a.csv").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script(drawn) == "#e8eaed"


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


def test_a_report_needs_neither_ray_nor_hydra_nor_an_import_of_plotly(patch):
    script = (
        "import sys; from sweep.__main__ import main; code = main(['report', sys.argv[1], '--no-plots']);"
        "print(code, [m for m in ('ray', 'hydra', 'plotly', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(patch)], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none")]) == 2
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no run.json" in capsys.readouterr().err
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
        assert 5_000 < path.stat().st_size < 500_000


def test_the_command_makes_page_and_pictures(patch, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(patch, folder)
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    said = capsys.readouterr().out.split()
    for name in ("report.html", "plots/measured.png", "plots/measured.svg", "plots/parts.png"):
        assert str(folder / name) in said
        assert (folder / name).is_file()


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
    assert {plot["name"] for plot in embedded["plots"]} >= {"ratio_cores", "ratio_refill_ns", "ceiling", "front"}
    assert all(len(plot["columns"][0]["values"]) <= 4000 for plot in embedded["plots"])
    notes = " ".join(each.text for each in browser.find_elements(By.CLASS_NAME, "note"))
    assert "Medians over everything else that varies" in notes
    assert "1000 of 250000 points" in notes


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
    made = plots(pq.ParquetFile(folder / "results.parquet"), {})
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
    drawn = browser.execute_script("return document.querySelectorAll('.plot .main-svg').length")
    assert (drawn > 0) != all_failed
