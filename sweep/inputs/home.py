"""The user's own folders: what `~` stands for, the configuration, the cache, and files that only the user writes."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from sim.machine.compiled.cache import NAME, OTHERS_WRITE, cache_base
from sweep.errors import BadInput
from sweep.inputs.conf import conf_dir


def expanded(given: str, key: str) -> str:
    """A path or URI with `~` as the home folder; BadInput where that is not known."""
    if not given.startswith("~"):
        return given
    path = os.path.expanduser(given)
    if path.startswith("~"):
        raise BadInput(f"{key}={given}: the home folder is not known here: give a path that begins with /")
    return path


def own_folder(given: str | None = None) -> Path:
    """The user's folder of configuration: as given, else under XDG_CONFIG_HOME, else under ~/.config."""
    if given:
        return Path(expanded(given, "--config-dir")).resolve()
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = os.path.expanduser("~")
    if not os.path.isabs(base) and not os.path.isabs(home):
        raise BadInput("no home folder is known here: give --config-dir DIR, or set HOME or XDG_CONFIG_HOME")
    return (Path(base) if os.path.isabs(base) else Path(home) / ".config") / NAME


def folders_of(config_dir: str | None, key: str = "--config-dir") -> list[Path]:
    """The folders of configuration files, the user's own first; BadInput, in which `key` gave it, where it is none."""
    if not config_dir:
        return [conf_dir()]
    own = Path(expanded(config_dir, key)).resolve()
    if not own.is_dir():
        raise BadInput(f"{key}={config_dir}: no such folder")
    return [own, conf_dir()]


def cache_folder() -> Path:
    """A folder that nobody else can write, made if it is not there; BadInput where there is none.

    Under XDG_CACHE_HOME, else under ~/.cache, else, where there is no home that can be used, a temporary one.
    """
    base, why = cache_base(), ""
    wanted = [base / NAME] if base is not None else []
    for folder in [*wanted, Path(tempfile.gettempdir()) / f"{NAME}-{os.geteuid()}"]:
        try:
            make(folder, 0o700)
            why = not_private(folder)
            if not why:
                folder.chmod(0o700)
        except OSError as error:
            why = f"{folder}: {error.strerror}"
        if not why:
            return folder
    raise BadInput(f"no folder for programs that are compiled here: {why}; set XDG_CACHE_HOME to a folder of your own")


def not_private(path: Path) -> str:
    """Why somebody else could have written a file or folder, or put another one into its place; empty if nobody can.

    Every folder above counts: who can write there can rename. In a sticky one, like /tmp, only the owner can.
    """
    me, own = os.geteuid(), os.lstat(path)
    if stat.S_ISLNK(own.st_mode) or own.st_uid != me:
        return f"{path}: {'is a link' if stat.S_ISLNK(own.st_mode) else f'belongs to the user {own.st_uid}'}"
    if own.st_mode & OTHERS_WRITE:
        return f"{path}: others may write it"
    for folder in path.resolve().parents:
        about = folder.stat()
        if about.st_uid not in (me, 0):
            return f"{folder}: belongs to the user {about.st_uid}"
        if about.st_mode & OTHERS_WRITE and not about.st_mode & stat.S_ISVTX:
            return f"{folder}: others may write it"
    return ""


def make(folder: Path, mode: int) -> None:
    """A folder and those above it that are not there, each of this mode at most, whatever the umask."""
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(mode=mode, exist_ok=True)


def write_own(path: Path, content: str | bytes) -> None:
    """A file of the user's that is there only when whole, and that others cannot write whatever the umask."""
    make(path.parent, 0o755)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
