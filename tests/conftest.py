"""What the tests share: parameters from conf/, and one Ray for the whole session."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

if os.environ.get("WITHOUT_NUMBA"):  # as if it were not installed
    sys.modules["numba"] = None  # type: ignore[assignment]

from selenium import webdriver

from sim import PARAMETERS
from sim.parameters import Kind
from sweep.inputs.catalog import catalog, quantities_of
from sweep.inputs.conf import conf_dir

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1200,1600"
).split()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests that open a page are marked `browser`."""
    if "browser" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.browser)


def changed(*overrides: str) -> list[str]:
    """Overrides of which the last of a key counts: a command line has each key once."""
    return list({text.partition("=")[0]: text for text in overrides}.values())


@pytest.fixture(scope="session")
def parameters() -> Callable[..., dict[str, Any]]:
    """parameters(machine, workload, **changes): the model's parameters by name, as simulate takes them."""
    entries = catalog([conf_dir()])

    def known(machine: str = "xeon_8160", workload: str = "kernel_build", **changes: Any) -> dict[str, Any]:
        quantities = quantities_of(entries["machine"][machine], entries["workload"][workload])
        values = {name: quantity.central for name, quantity in quantities.items()}
        if entries["workload"][workload].kind is Kind.BUILD:
            values["alloc_events"] = values["kunmap_events"] * values["alloc_per_kunmap"]
            values["user_s"] *= values.get("user_s_over_xeon", 1.0)
        return {name: value for name, value in values.items() if name in PARAMETERS} | changes

    return known


def one_request(p: dict[str, Any], line: str = "line_socket_ns") -> SimpleNamespace:
    """What one request alone costs where its lines come over this distance, in ns: sender, target, sender again."""
    return SimpleNamespace(
        enqueue=p["enqueue_fixed_ns"] + (p["queue_lines"] + p["csd_lines"]) * p[line],
        take=p["queue_lines"] * p[line],
        handle=p["handler_fixed_ns"] + p["request_lines"] * p[line],
        ack=p["ack_lines"] * p[line],
    )


@pytest.fixture(scope="session")
def ray() -> Iterator[Any]:
    """A real local Ray with two CPUs, shut down at the end of the session."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def sweep_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """sweep_in(*overrides): run the command line in this process, quietly; the folder of the run."""
    from sweep.__main__ import main

    def run(*overrides: str, out: Any = None) -> Any:
        folder = out or tmp_path_factory.mktemp("run")
        assert main([*overrides, f"out={folder}", "quiet=true"]) == 0
        return folder

    return run


def sign(folder: Path) -> None:
    """Let results that a test has made be believed."""
    digest = hashlib.sha256((folder / "results.parquet").read_bytes()).hexdigest()
    (folder / "results.sha256").write_text(f"{digest}  results.parquet\n")


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """A Chromium whose console and requests can be read; skipped where there is none."""
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
