"""The tables of docs/results.md that follow from the code: `python -m tests.columns_table --write` rewrites them."""

from __future__ import annotations

import sys
from pathlib import Path

from sim import METRICS
from sweep.store.rows import PARAMETER_COLUMNS, schema
from sweep.tables.make import TABLES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results.md"
COMMAND = "python -m tests.columns_table --write"


def columns(names: list[str]) -> str:
    """Columns of results.parquet with the unit and meaning that the schema gives them."""
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    for name in names:
        about = schema().field(name).metadata
        lines.append(f"| `{name}` | {about[b'unit'].decode()} | {about[b'description'].decode()} |")
    return "\n".join(lines)


def rewritten(page: str) -> str:
    """The page with what stands between its markers made again."""
    others = [name for name in schema().names if name not in PARAMETER_COLUMNS and name not in METRICS]
    made = {
        "names": columns(others),
        "parameters": columns(list(PARAMETER_COLUMNS)),
        "metrics": columns(list(METRICS)),
        "tables": "\n".join(
            ["| table | what it says |", "|---|---|", *(f"| `{k}` | {v} |" for k, v in TABLES.items())]
        ),
    }
    for name, table in made.items():
        before, begin, after = page.partition(f"<!-- {name} -->\n")
        _, end, rest = after.partition("<!-- end -->\n")
        if not begin or not end:
            raise SystemExit(f"{PAGE.name}: needs a line <!-- {name} --> and a line <!-- end --> after it")
        page = f"{before}{begin}{table}\n{end}{rest}"
    return page


if __name__ == "__main__":
    text = rewritten(PAGE.read_text(encoding="utf-8"))
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
