"""Machine code if numba is installed, plain Python if not: the same loops, the same numbers.

Only this module imports numba. Among the processes of one user on one machine, one compiles a loop; the others wait and
load it. No compiled function creates or returns an array, so numba needs no reference counts (`_nrt=False`), which took
five times as long as all the rest. Functions that only compiled functions call are inlined, so that the compiler
optimizes a single loop.
"""

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
    """A function that only compiled functions call."""
    return _njit(function, inline="always")


def called(function: Function) -> Function:
    """A function with many compiled callers: not inlined by numba, though LLVM may do so."""
    return _njit(function)


def entry(function: Function) -> Function:
    """A compiled function that Python calls, cached with all functions that it calls."""
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
    njit: Any = numba.njit  # its types lack some options
    return njit(function, error_model="numpy", _nrt=False, **options)


def prepare(function: Callable[..., Any], *arguments: Any) -> None:
    """Compile an entry by a call with empty work, or load the code that another process compiled."""
    if getattr(function, "signatures", ["plain Python"]):  # not empty if compiled already
        return
    with _alone():
        remove_damaged(function.__name__)
        function(*arguments)
        seal(function.__name__)


@contextmanager
def _alone() -> Iterator[None]:
    """Exclude other processes of this user on this machine; without effect if files cannot be locked."""
    folder = cache_folder()
    if folder is None:
        yield
        return
    with open(folder / "lock", "a") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)  # closing unlocks
        yield
