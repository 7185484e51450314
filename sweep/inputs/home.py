"""The user's own folders: `~`, the configuration, the cache, and files that only the user can write."""

import os
from pathlib import Path

from sim.machine.compiled.cache import NAME, find_cache, make
from sweep.errors import BadInput
from sweep.inputs.conf import conf_dir


def expanded(given: str, key: str) -> str:
    """A path or URI with `~` expanded; BadInput if the home folder is not known."""
    if not given.startswith("~"):
        return given
    path = os.path.expanduser(given)
    if path.startswith("~"):
        raise BadInput(f"{key}={given}: the home folder is not known: give a path that begins with /")
    return path


def own_folder(given: str | None = None) -> Path:
    """The user's configuration folder: the given one, else under XDG_CONFIG_HOME, else under ~/.config."""
    if given:
        return Path(expanded(given, "--config-dir")).resolve()
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = os.path.expanduser("~")
    if not os.path.isabs(base) and not os.path.isabs(home):
        raise BadInput("the home folder is not known: give --config-dir DIR, or set HOME or XDG_CONFIG_HOME")
    return (Path(base) if os.path.isabs(base) else Path(home) / ".config") / NAME


def folders_of(config_dir: str | None, key: str = "--config-dir") -> list[Path]:
    """The folders of configuration files, the user's own first; BadInput with `key` if that one does not exist."""
    if not config_dir:
        return [conf_dir()]
    own = Path(expanded(config_dir, key)).resolve()
    if not own.is_dir():
        raise BadInput(f"{key}={config_dir}: no such folder")
    return [own, conf_dir()]


def cache_folder() -> Path:
    """The user's cache for compiled programs; BadInput if other users can write it."""
    folder, why = find_cache()
    if folder is None:
        raise BadInput(f"no folder for compiled programs: {why}; set XDG_CACHE_HOME to a folder of your own")
    return folder


def write_own(path: Path, content: str | bytes) -> None:
    """Write a file of the user atomically; other users cannot write it, for any umask."""
    make(path.parent, 0o755)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """BadInput if the folder cannot be written, before any measurement."""
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"{there}: cannot be written; give --config-dir DIR")
