"""Where compiled loops are kept, and whether they are there: asked without importing numba, which takes half a second.

The folder is the user's own and is named after the text of all that is compiled, so that no code outlives its source.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

MACHINES = Path(__file__).parent.parent
READY = ".compiled"  # ends the name of the file that says that a loop has been compiled


@cache
def has_compiler() -> bool:
    """Whether numba is there."""
    return find_spec("numba") is not None


@cache
def cache_folder() -> Path | None:
    """Where compiled code is kept; None where each process compiles for itself.

    That is where the user can write nowhere, or where others can write too.
    """
    base, home = os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~")
    if not os.path.isabs(base):
        base = os.path.join(home, ".cache")
    if not os.path.isabs(base):
        return None
    text = hashlib.sha256()
    for path in sorted(MACHINES.rglob("*.py")):
        text.update(path.read_bytes())
    ours = Path(base, "xpfo-sweep")
    folder = ours / f"loops-{text.hexdigest()[:16]}"
    try:
        Path(base).mkdir(parents=True, exist_ok=True)
        for each in (ours, folder):
            each.mkdir(mode=0o700, exist_ok=True)
            if each.stat().st_uid != os.geteuid() or each.stat().st_mode & 0o022:
                return None  # what is loaded from there is run, and somebody else may write it
        with open(folder / "lock", "a"):
            return folder
    except OSError:
        return None


def is_compiled(loop: str) -> bool:
    """Whether the machine code of a loop is there already."""
    folder = cache_folder()
    return folder is not None and (folder / f"{loop}{READY}").exists()
