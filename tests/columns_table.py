"""The tables of docs/ that follow from the code and conf/: `python -m tests.columns_table --write` rewrites them."""

import sys
from pathlib import Path

from sim import METRICS
from sweep.store.rows import PARAMETER_COLUMNS, schema
from sweep.tables.make import TABLES
from tests import how_sure_table, policies_table

DOCS = Path(__file__).resolve().parent.parent / "docs"
COMMAND = "python -m tests.columns_table --write"


def columns(names: list[str]) -> str:
    """Columns of results.parquet with the unit and meaning that the schema gives them."""
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    for name in names:
        about = schema().field(name).metadata
        lines.append(f"| `{name}` | {about[b'unit'].decode()} | {about[b'description'].decode()} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """The tables of docs/results.md by the name of their marker."""
    others = [name for name in schema().names if name not in PARAMETER_COLUMNS and name not in METRICS]
    return {
        "names": columns(others),
        "parameters": columns(list(PARAMETER_COLUMNS)),
        "metrics": columns(list(METRICS)),
        "tables": policies_table.table(["table", "content"], [[f"`{name}`", about] for name, about in TABLES.items()]),
    }


PAGES = {"results.md": tables, "policies.md": policies_table.tables, "how-sure.md": how_sure_table.tables}


def rewritten(name: str) -> str:
    """A page of docs/ with the text between its markers made again."""
    page = (DOCS / name).read_text(encoding="utf-8")
    for marker, table in PAGES[name]().items():
        before, begin, after = page.partition(f"<!-- {marker} -->\n")
        _, end, rest = after.partition("<!-- end -->\n")
        if not begin or not end:
            raise SystemExit(f"{name}: needs a line <!-- {marker} --> and a line <!-- end --> after it")
        page = f"{before}{begin}{table}\n{end}{rest}"
    return page


if __name__ == "__main__":
    for name in PAGES:
        text = rewritten(name)
        if sys.argv[1:] == ["--write"]:
            (DOCS / name).write_text(text, encoding="utf-8")
        else:
            print(text, end="")
