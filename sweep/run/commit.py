"""Version and commit of the code: of its package, and of its checkout."""

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    VERSION = version("xpfo-sweep")
except PackageNotFoundError:  # a checkout that is not installed, as in a Ray job
    VERSION = "unknown"


def commit() -> str | None:
    """The commit, marked if its files were changed; None for a release, or if neither git nor the package has one."""
    built_from = VERSION.partition("+")[2].removeprefix("g")  # hatch-vcs: 0.1.dev471+g72a4bfd01
    return of_checkout(Path(__file__).resolve().parents[2]) or built_from or None


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
