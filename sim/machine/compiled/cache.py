"""The cache of compiled loops; this module does not import numba, which takes half a second.

The folder belongs to the user. Its name has a hash of the source, the compiler and the processor, so that no code
outlives its source or runs on another processor. There is a digest beside the code of each loop: damaged code is
removed before it is loaded, and compiled again. This module also finds the user's cache for the whole project, and
checks that no other user can write to it.
"""

import hashlib
import os
import platform
import stat
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

MACHINES = Path(__file__).parent.parent
NAME = "xpfo-sweep"  # this project's folder in the user's cache
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
DIGEST = ".sha256"  # suffix of the file with the digest of a loop's code
CPU_FIELDS = ("model name", "flags", "Features", "CPU part")  # in /proc/cpuinfo, on x86 and on arm64


@cache
def has_compiler() -> bool:
    """Whether numba is installed."""
    return find_spec("numba") is not None


@cache
def cache_folder() -> Path | None:
    """The folder of compiled code; None if each process compiles for itself."""
    ours = own_cache()
    if ours is None:
        return None
    name = hashlib.sha256(_target().encode())
    for path in sorted(MACHINES.rglob("*.py")):
        name.update(path.read_bytes())
    folder = ours / f"loops-{name.hexdigest()[:16]}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not_private(folder):
            return None  # code from this folder is executed
        with open(folder / "lock", "a"):
            return folder
    except OSError:
        return None


def is_compiled(loop: str) -> bool:
    """Whether the machine code of a loop is in the cache."""
    folder = cache_folder()
    return folder is not None and (folder / f"{loop}{DIGEST}").exists()


def remove_damaged(loop: str) -> None:
    """Remove the machine code of a loop unless its digest is that of `seal`."""
    folder = cache_folder()
    if folder is None:
        return
    with suppress(OSError):
        if (folder / f"{loop}{DIGEST}").read_text(encoding="ascii", errors="replace") == _digest(folder, loop):
            return
    for path in [folder / f"{loop}{DIGEST}", *_code(folder, loop)]:
        path.unlink(missing_ok=True)


def seal(loop: str) -> None:
    """Write the digest of the machine code of a loop."""
    folder = cache_folder()
    if folder is not None:
        (folder / f"{loop}{DIGEST}").write_text(_digest(folder, loop), encoding="ascii")


def own_cache() -> Path | None:
    """The user's cache of this project, created if missing; None if no folder is writable by this user alone."""
    return find_cache()[0]


def find_cache() -> tuple[Path | None, str]:
    """The folder of `own_cache`, and why it is not under XDG_CACHE_HOME or ~/.cache, else an empty text."""
    base, why = Path(os.environ.get("XDG_CACHE_HOME", "")), ""
    if not base.is_absolute():
        base = Path(os.path.expanduser("~"), ".cache")
    wanted = [base / NAME] if base.is_absolute() else []  # else there is no home
    for folder in [*wanted, Path(tempfile.gettempdir()) / f"{NAME}-{os.geteuid()}"]:
        try:
            unsafe = not_private(folder)
            if not unsafe:
                make(folder, 0o700)
                return folder, why
        except OSError as error:
            unsafe = f"{folder}: {error.strerror}"
        why = why or unsafe
    return None, why


def not_private(path: Path) -> str:
    """The reason why another user could write or replace a file or folder; empty if none can.

    Every parent folder counts, since a user who can write to it can rename its entries, unless it is sticky like /tmp.
    For a path that does not exist yet, its existing parents count.
    """
    me = os.geteuid()
    if os.path.lexists(path):
        own = os.lstat(path)
        if stat.S_ISLNK(own.st_mode) or own.st_uid != me:
            return f"{path}: {'is a link' if stat.S_ISLNK(own.st_mode) else f'belongs to the user {own.st_uid}'}"
        if own.st_mode & OTHERS_WRITE:
            return f"{path}: others may write it"
    for folder in path.resolve().parents:
        if not folder.exists():
            continue
        about = folder.stat()
        if about.st_uid not in (me, 0):
            return f"{folder}: belongs to the user {about.st_uid}"
        if about.st_mode & OTHERS_WRITE and not about.st_mode & stat.S_ISVTX:
            return f"{folder}: others may write it"
    return ""


def make(folder: Path, mode: int) -> None:
    """Create a folder and its missing parents with this mode, less the umask."""
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(mode=mode, exist_ok=True)


def _target() -> str:
    """The versions of the compiler, and the processor."""
    words = [platform.python_version(), platform.machine()]
    for package in ("numba", "llvmlite"):
        with suppress(PackageNotFoundError):
            words.append(version(package))
    words += [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("NUMBA_CPU")]
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        first = file.read(1 << 14).split("\n\n")[0].splitlines()
        words += [line for line in first if line.split("\t")[0].strip() in CPU_FIELDS]
    return "\n".join(words)


def _code(folder: Path, loop: str) -> list[Path]:
    return sorted(folder.rglob(f"*{loop}*.nb?"))


def _digest(folder: Path, loop: str) -> str:
    digest = hashlib.sha256()
    for path in _code(folder, loop):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
