"""Writes the commit into what is published: COMMIT of an sdist, and sweep/commit.txt of a wheel made from either."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Commit(BuildHookInterface):
    """Called once for each sdist or wheel."""

    folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file; none where no commit is known, or where the code runs from its checkout."""
        root = Path(self.root)
        of_checkout = runpy.run_path(str(root / "sweep" / "run" / "commit.py"))["of_checkout"]
        known = of_checkout(root)
        if known is None and (root / "COMMIT").exists():
            known = (root / "COMMIT").read_text()
        if known is None or version == "editable":
            return
        self.folder = tempfile.TemporaryDirectory()
        made = Path(self.folder.name) / "COMMIT"
        made.write_text(known.strip() + "\n")
        build_data["force_include"][str(made)] = "COMMIT" if self.target_name == "sdist" else "sweep/commit.txt"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what `initialize` made."""
        if self.folder is not None:
            self.folder.cleanup()
