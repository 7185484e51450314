"""Machine code where numba is there, plain Python where it is not: the same loops, the same numbers.

Nobody else imports numba. Of the processes of one user on one machine that need a loop one compiles it, and the others
wait for that and load. No compiled function makes or returns an array, so that numba need not count who holds it
(`_nrt=False`): counting took five times as long as all the rest. Functions that only compiled ones call become part of
them (`inline`), which gives the compiler one loop to look at.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sim.machine.compiled.cache import cache_folder, remove_damaged, seal

try:
    import numba
except ImportError:
    numba = None  # type: ignore[assignment]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """A function that only compiled ones call."""
    return _njit(function, inline="always")


def called(function: Function) -> Function:
    """One that they call in many places: compiled once for all of these, though the machine code may repeat it."""
    return _njit(function)


def entry(function: Function) -> Function:
    """A compiled function that Python calls: cached, with all that it calls."""
    folder = cache_folder()
    if numba is None or folder is None:
        return _njit(function)
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return _njit(function, cache=True)
    finally:
        config.CACHE_DIR = before


def _njit(function: Function, **options: Any) -> Function:
    if numba is None:
        return function
    njit: Any = numba.njit  # takes more options than its types say
    return njit(function, error_model="numpy", _nrt=False, **options)


def prepare(function: Callable[..., Any], *arguments: Any) -> None:
    """Compile an entry for arguments with which it has nothing to do, or load what another process compiled."""
    if getattr(function, "signatures", ["plain Python"]):  # of what is compiled already
        return
    with _alone():
        remove_damaged(function.__name__)
        function(*arguments)
        seal(function.__name__)


@contextmanager
def _alone() -> Iterator[None]:
    """One process of this user on this machine at a time; where files cannot be locked each does it for itself."""
    folder = cache_folder()
    if folder is None:
        yield
        return
    with open(folder / "lock", "a") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)  # closing unlocks
        yield
