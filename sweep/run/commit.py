"""The commit of the code: of its checkout, or of the build of its package."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
BUILT_FROM = PACKAGE / "commit.txt"  # only in a package; deploy/hatch_build.py writes it


def commit() -> str | None:
    """The commit, marked if its files were changed; None if neither git nor the package has one."""
    return of_checkout(PACKAGE.parent) or (BUILT_FROM.read_text().strip() if BUILT_FROM.exists() else None)


def of_checkout(root: Path) -> str | None:
    """The commit of the checkout with this root, without regard to git's environment; None if it is no checkout."""
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
