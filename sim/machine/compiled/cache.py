"""Where compiled loops are kept, and whether they are there: asked without importing numba, which takes half a second.

The folder is the user's own and is named after the text of all that is compiled, so that no code outlives its source.
Which folder is that, and what is believed of what stands in it, is said here for all caches of this project.
"""

from __future__ import annotations

import hashlib
import os
import stat
from functools import cache
from importlib.util import find_spec
from pathlib import Path

MACHINES = Path(__file__).parent.parent
NAME = "xpfo-sweep"  # of this project's folder among the user's own
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
READY = ".compiled"  # ends the name of the file that says that a loop has been compiled


@cache
def has_compiler() -> bool:
    """Whether numba is there."""
    return find_spec("numba") is not None


@cache
def cache_folder() -> Path | None:
    """Where compiled code is kept; None where each process compiles for itself."""
    text = hashlib.sha256()
    for path in sorted(MACHINES.rglob("*.py")):
        text.update(path.read_bytes())
    ours = own_cache()
    if ours is None:
        return None
    folder = ours / f"loops-{text.hexdigest()[:16]}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not is_own(folder):
            return None  # what is loaded from there is run
        with open(folder / "lock", "a"):
            return folder
    except OSError:
        return None


def own_cache() -> Path | None:
    """The user's cache of this project, made if it is not there; None where he can write none, or others can too."""
    base = cache_base()
    if base is None:
        return None
    ours = base / NAME
    try:
        base.mkdir(parents=True, exist_ok=True)
        ours.mkdir(mode=0o700, exist_ok=True)
        return ours if is_own(ours) else None
    except OSError:
        return None


def cache_base() -> Path | None:
    """Where the user's programs keep caches: XDG_CACHE_HOME, else ~/.cache; None where there is no home either."""
    base, home = os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~")
    if not os.path.isabs(base):
        base = os.path.join(home, ".cache")
    return Path(base) if os.path.isabs(base) else None


def is_own(path: Path) -> bool:
    """Whether a file or folder is this user's, and nobody else can write it."""
    about = path.stat()
    return about.st_uid == os.geteuid() and not about.st_mode & OTHERS_WRITE


def is_compiled(loop: str) -> bool:
    """Whether the machine code of a loop is there already."""
    folder = cache_folder()
    return folder is not None and (folder / f"{loop}{READY}").exists()
