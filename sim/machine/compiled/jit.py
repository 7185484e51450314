"""Machine code where numba is there, plain Python where it is not: the same loops, the same numbers.

Nobody else imports numba. What it compiles is kept in the user's cache folder, in a folder named after the text of all
that is compiled, so that no code outlives its source. Of the processes of one machine that need it at the same time
one compiles, and the others wait for it and load.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

try:
    import numba
except ImportError:
    numba = None

Function = TypeVar("Function", bound=Callable[..., Any])

MACHINES = Path(__file__).parent.parent
LOCK = "lock"
READY = ".compiled"  # ends the name of the file that says that an entry has been compiled


@cache
def cache_folder() -> Path | None:
    """Where compiled code is kept; None where the user may write nowhere, so that each process compiles for itself."""
    base, home = os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~")
    if not os.path.isabs(base):
        base = os.path.join(home, ".cache")
    if not os.path.isabs(base):
        return None
    text = hashlib.sha256()
    for path in sorted(MACHINES.rglob("*.py")):
        text.update(path.read_bytes())
    folder = Path(base, "xpfo-sweep", f"loops-{text.hexdigest()[:16]}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / LOCK, "a"):
            return folder
    except OSError:
        return None


def compiled(function: Function) -> Function:
    """A function that only compiled ones call."""
    return function if numba is None else numba.njit(function, error_model="numpy", _nrt=False, inline="always")


def entry(function: Function) -> Function:
    """A compiled function that Python calls: cached, with all that it calls."""
    if numba is None:
        return function
    folder = cache_folder()
    if folder is None:
        return compiled(function)
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        return numba.njit(function, error_model="numpy", _nrt=False, cache=True)
    finally:
        numba.config.CACHE_DIR = before


def prepare(function: Callable[..., Any], *arguments: Any) -> None:
    """Compile an entry for arguments with which it has nothing to do, or load what another process compiled."""
    if numba is None or function.signatures:  # type: ignore[attr-defined]
        return
    with _alone():
        function(*arguments)
        folder = cache_folder()
        if folder is not None:
            (folder / f"{function.__name__}{READY}").touch()


@contextmanager
def _alone() -> Iterator[None]:
    """One process of this user on this machine at a time."""
    folder = cache_folder()
    if folder is None:
        yield
        return
    with open(folder / LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # closing unlocks
        yield
