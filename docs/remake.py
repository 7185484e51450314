"""The numbers and pictures of README.md and docs/ that commands print: `python -m docs.remake` makes them again.

It runs the commands as they stand on those pages, some four minutes on two cores. A text that follows from a run stands
between <!-- NAME PLAN --> and <!-- end -->: NAME is that of its function in TEXTS, and PLAN begins the hash of the plan
that gave it, so that tests/test_remake.py sees without a run whether the model has changed since. With --check nothing
is written. --runs FOLDER keeps the runs there, and takes those that are there already. Pictures need Chromium.
"""

import argparse
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
COMMAND = "python -m docs.remake"
BLOCK = re.compile(r"<!-- (\w+) ([0-9a-f]{8}) -->(\n?)(.*?)\3<!-- end -->", re.DOTALL)
PAGE = 1120, 860  # size of the page's picture
COLUMNS = 100  # of the terminal
DOUBTS = ("* No build", "No measurement on")  # how an answer's lines about its limits begin


class Run:
    """A finished run: what it printed, its folder, and the beginning of its plan's hash."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.printed = sweep(words, folder)
        self.folder = folder / self.printed.splitlines()[-1]

    @property
    def plan(self) -> str:
        return re.findall(r'"plan": "(\w{8})', (self.folder / "run.json").read_text(encoding="utf-8"))[0]

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / "tables" / f"{name}.csv")


def sweep(words: list[str], folder: Path) -> str:
    """What a command prints in this folder, by this checkout."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS)}
    done = subprocess.run([sys.executable, "-m", "sweep", *words], cwd=folder, env=environment, stdout=-1, text=True)
    if done.returncode:
        raise SystemExit(f"failed: sweep {shlex.join(words)}")
    return done.stdout


def commands() -> dict[str, list[str]]:
    """The words of the commands that make the texts, by grid; each stands on the page that has its text."""
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in dict.fromkeys(page for page, _ in TEXTS))
    found: dict[str, list[str]] = {}
    for line in re.findall(r"(?:^|python -m )sweep (\+grid=.*)$", pages.replace("\\\n", ""), re.MULTILINE):
        words = shlex.split(line, comments=True)
        found.setdefault(words[0].removeprefix("+grid="), words)
    return {name: found[name] for name in dict.fromkeys(grid(name) for _, name in TEXTS)}


def grid(name: str) -> str:
    """The grid whose run gives a text."""
    return name.partition("__")[0]


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Name, plan and text of every block of a page that follows from a run."""
    for found in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
        yield found[1], found[2], found[4]


# Texts: each from its run, and from the text that stands there.


def printed_table(run: Run, _: str) -> str:
    """The table that the command prints below its answer, and the answer's doubts."""
    parts = run.printed.strip().split("\n\n")
    doubts = [line for line in parts[0].splitlines() if line.startswith(DOUBTS)]
    if not doubts:
        raise SystemExit(f"{run.folder}: the answer has no line that begins with one of {DOUBTS}")
    lines = [line.rstrip() for line in parts[-2].splitlines() if not line.startswith("(columns left out:")]
    return "\n".join(["```", *lines, "", *doubts, "```"])


def how_good(run: Run, _: str) -> str:
    """What a reader has to know of the validation: how many rows lie inside, which do not, and where there are none."""
    from sweep.inputs.likelihood import spread
    from sweep.inputs.measured import published

    rows = run.table("validation").query("costs == 'calibrated' and role == 'predict'").astype({"inside_90": bool})
    titles = {table.name: table.title for table in published().tables}
    misses = []
    for name, missed in sorted(rows[~rows["inside_90"]].groupby("table"), key=lambda each: -len(each[1])):
        off = missed["predicted_50"] / missed["measured"]
        ends = sorted(np.maximum(off, 1 / off))[:: max(len(off) - 1, 1)]
        factors = dict.fromkeys(f"{each:.0f}" if each >= 10 else f"{each:.2g}" for each in ends)
        misses.append(
            f"{titles[str(name)]} ({len(missed)} of {(rows['table'] == name).sum()}, by {' to '.join(factors)}x)"
        )
    return (
        f"{rows['inside_90'].sum()} of {len(rows)} measurements of other authors, none of them fitted, lie inside "
        f"their 90 % prediction intervals ({0.9 * len(rows):.0f} expected); the median error is "
        f"{rows['error_pct'].abs().median():.0f} %.\n"
        f"The misses: {'; '.join(misses)}.\n"
        f"No build was measured beyond {spread().cores:g} CPUs: believe the order of policies there, not the factors."
    )


def validation_rows(run: Run, text: str) -> str:
    """The table of validation.md: the words and earlier errors that stand there, and the run's numbers."""
    summary = run.table("validation_summary").set_index(["costs", "table"]).to_dict("index")
    lines = []
    for line in text.splitlines():
        cells = line.strip("| ").split(" | ")
        name = re.match(r"`(\w+)`|all$", cells[0])
        if name is not None:
            fitted, literature = (summary[costs, name[1] or "all"] for costs in ("calibrated", "literature"))
            before = [each.partition(",")[0] for each in cells[6:] if "," in each]
            width = fitted["width"]
            cells[1:] = [
                *(f"{each:.0f}" for each in (fitted["rows"], fitted["inside"], literature["inside"])),
                percent(fitted["error_pct"]),
                f"{width:.1f}" if width < 10 else f"{width:.0f}",
                ", ".join([*before, percent(literature["error_pct"])]),
            ]
            line = f"| {' | '.join(cells)} |"
        lines.append(line)
    return "\n".join(lines)


def shares_inside(run: Run, _: str) -> str:
    """The shares of all rows that lie inside."""
    every = run.table("validation_summary").query("table == 'all'").set_index("costs")
    fitted, literature = (100 * every["inside"] / every["rows"]).loc[["calibrated", "literature"]]
    return (
        f"{fitted:.0f} % of the rows lie inside their 90 % intervals with the fitted costs, "
        f"and {literature:.0f} % with the literature's"
    )


def percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %" if value >= 0.1 else "below 0.1 %"


def seconds(costs: str) -> Callable[[Run, str], str]:
    """The simulated seconds of the patch's synchronous row on the server."""

    def found(run: Run, _: str) -> str:
        row = run.table("reproduction").query("machine == 'xeon_8160' and policy == 'xpfo'")
        return f"{row[f'{costs}_s'].iloc[0]:,.0f} s"

    return found


TEXTS: dict[tuple[str, str], Callable[[Run, str], str]] = {
    ("README.md", "direct_map"): printed_table,
    ("README.md", "cores"): printed_table,
    ("README.md", "isolated"): printed_table,
    ("README.md", "validation"): how_good,
    ("README.md", "patch"): lambda _, text: text,  # pictures
    ("docs/validation.md", "validation"): validation_rows,
    ("docs/validation.md", "validation__share"): shares_inside,
    ("docs/calibration.md", "patch"): seconds("calibrated"),
    ("docs/calibration.md", "patch__literature"): seconds("literature"),
}  # fmt: skip


def rewritten(page: str, runs: dict[str, Run]) -> str:
    """A page with its blocks made again."""

    def block(found: re.Match[str]) -> str:
        run = runs[grid(found[1])]
        text = TEXTS[page, found[1]](run, found[4])
        return f"<!-- {found[1]} {run.plan} -->{found[3]}{text}{found[3]}<!-- end -->"

    return BLOCK.sub(block, (ROOT / page).read_text(encoding="utf-8"))


# Pictures.


def draw(runs: dict[str, Run], folder: Path) -> None:
    """The pictures of README.md."""
    plots = sweep(["plot", str(runs["cores"].folder), "y=ratio", "x=cores"], folder).split()
    plot = Path(next(each for each in plots if each.endswith(".svg")))
    width, height, *_ = re.findall(r' (?:width|height)="(\d+)', plot.read_text(encoding="utf-8"))
    photograph(plot, DOCS / "cost.png", (int(width), int(height)), 2)
    photograph(runs["patch"].folder / "report.html", DOCS / "report.png", PAGE, 1)
    (DOCS / "terminal.svg").write_text(terminal(runs["patch"].printed), encoding="utf-8")


def photograph(file: Path, into: Path, size: tuple[int, int], scale: int) -> None:
    """What Chromium shows of a file, in its light theme."""
    with tempfile.TemporaryDirectory() as folder:
        options = f"--headless --no-sandbox --disable-gpu --hide-scrollbars --window-size={size[0]},{size[1]}"
        options += f" --force-device-scale-factor={scale} --virtual-time-budget=10000 --user-data-dir={folder}"
        command = ["chromium", *options.split(), f"--screenshot={into}", file.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)


def terminal(printed: str) -> str:
    """A terminal with the first command of README.md and what it prints, in fonts that the reader has."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ .venv/bin/python -m sweep +grid=patch\n{printed.strip()}"))
    drawn = console.export_svg(title="sweep", unique_id="patch")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace("Fira Code", "ui-monospace")


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare the texts, and write nothing")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="where the runs are, or are kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.runs or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        runs = {name: Run([*words, "runner=serial"], folder) for name, words in commands().items()}
        stale = []
        for page in dict.fromkeys(page for page, _ in TEXTS):
            text = rewritten(page, runs)
            if text != (ROOT / page).read_text(encoding="utf-8"):
                stale.append(page)
                if not given.check:
                    (ROOT / page).write_text(text, encoding="utf-8")
        if not given.check:
            draw(runs, folder)
    if given.check and stale:
        raise SystemExit(f"stale: {', '.join(stale)}; rewrite: {COMMAND}")


if __name__ == "__main__":
    main()
