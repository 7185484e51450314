"""Installed as a wheel and run from another folder it works too."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from sweep.run.record import of_checkout

ROOT = Path(__file__).resolve().parent.parent


def test_the_wheel_carries_its_configuration(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    assert "sweep/measure/loop.c" in zipfile.ZipFile(wheel).namelist()  # compiled on the user's machine
    installed, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(installed)
    elsewhere.mkdir()
    script = (
        "import sweep, sys; from sweep.inputs.conf import conf_dir; from sweep.__main__ import main;"
        f"assert sweep.__file__.startswith({str(installed)!r}), sweep.__file__;"
        f"assert str(conf_dir()).startswith({str(installed)!r});"
        "sys.exit(main(['+grid=smoke', 'runner=serial', 'window_events=320']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=elsewhere, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = (elsewhere / "outputs" / "smoke").iterdir()
    known = of_checkout(ROOT)
    said = "not from a checkout" if known is None else known[:7]  # the wheel's version has the commit
    assert f"<dt>commit</dt><dd>{said}" in (run / "report.html").read_text()
