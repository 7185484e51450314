"""From which commit the code is: of the checkout that it runs from, or that its package was built in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
BUILT_FROM = PACKAGE / "commit.txt"  # in a package alone; deploy/hatch_build.py writes it


def commit() -> str | None:
    """The commit and whether files that it holds were changed; None if neither git nor the package knows."""
    return of_checkout(PACKAGE.parent) or (BUILT_FROM.read_text().strip() if BUILT_FROM.exists() else None)


def of_checkout(root: Path) -> str | None:
    """The same of the checkout with this root, or None if it is none; whatever repository git is told of."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, timeout=10, check=True,
            env={**environment, "GIT_CEILING_DIRECTORIES": str(root.parent)},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
