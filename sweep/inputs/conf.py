"""Where the configuration files are, and what the grids ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def conf_dir() -> Path:
    """The configuration that comes with the package: inside it when installed, beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def questions(folders: Sequence[Path]) -> dict[str, str]:
    """Grids by name with the question in their first line; folders given first win."""
    found: dict[str, str] = {}
    for folder in reversed(folders):
        for path in sorted((folder / "grid").glob("*.yaml")):
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            found[path.stem] = first.removeprefix("#").strip() if first.startswith("#") else ""
    return dict(sorted(found.items()))


def listing(folders: Sequence[Path]) -> str:
    found = questions(folders)
    width = max(map(len, found), default=0)
    lines = [f"  +grid={name:<{width}} {question}" for name, question in found.items()]
    return "grids:\n" + "\n".join(lines)
