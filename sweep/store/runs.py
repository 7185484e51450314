"""The runs below a folder: progress, size, and settings that are not the same in all."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import fs

from sweep.errors import BadInput
from sweep.inputs import settings
from sweep.store.folder import Folder, reason
from sweep.store.run_json import NAME, read_run
from sweep.store.status import status

DEEPEST = 16  # folders below the first one, against circular links
OF_POINTS = ("policy_path", "points")  # settings of the simulated points


@dataclass(frozen=True)
class FoundRun:
    """A run; with a damaged run.json only name, size and age are known."""

    name: str  # its folder, relative to the first one
    grid: str
    points: int | None  # None: not known
    state: str  # running, done, stopped or damaged, with progress
    age_s: float  # since the last write in its folder
    size: int  # bytes
    settings: Mapping[str, str]  # of its points, from its command line, and the hash of its code
    wrong: str = ""  # the damage, in a sentence


def find_runs(root: Folder) -> list[FoundRun]:
    """Every run at or below a folder, the last written first; BadInput if there is no such folder."""
    try:
        there = root.filesystem.get_file_info(root.path).type == fs.FileType.Directory
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{root}: cannot be read: {reason(error)}") from None
    if not there:
        raise BadInput(f"{root}: no such folder")
    return sorted((_run(root, folder) for folder in _folders(root, DEEPEST)), key=lambda run: (run.age_s, run.name))


def different_settings(runs: Sequence[FoundRun]) -> list[dict[str, str]]:
    """The settings of each run that are not the same in all; a missing one differs from all values."""
    known = [run for run in runs if not run.wrong]
    names = dict.fromkeys(name for run in known for name in run.settings)
    differ = [name for name in names if len({run.settings.get(name) for run in known}) > 1]
    return [{name: run.settings[name] for name in differ if name in run.settings} for run in runs]


def _folders(folder: Folder, deepest: int) -> Iterator[Folder]:
    """Folders of runs, at and below this one, without unreadable ones, links and hidden folders."""
    try:
        inside = folder.filesystem.get_file_info(fs.FileSelector(folder.path))
    except (OSError, pa.ArrowException):
        return
    if any(info.base_name == NAME and info.is_file for info in inside):
        yield folder
        return
    for info in inside:
        link = folder.local and os.path.islink(info.path)
        if info.type == fs.FileType.Directory and not info.base_name.startswith(".") and not link and deepest:
            yield from _folders(Folder(folder.filesystem, info.path.rstrip("/")), deepest - 1)


def _run(root: Folder, folder: Folder) -> FoundRun:
    name = os.path.relpath(folder.path, root.path)
    files: list[fs.FileInfo] = []
    with suppress(OSError, pa.ArrowException):
        found = folder.filesystem.get_file_info(fs.FileSelector(folder.path, recursive=True))
        files = [info for info in found if info.is_file]
    size = sum(info.size or 0 for info in files)
    age_s = time.time() - max((info.mtime_ns or 0 for info in files), default=0) / 1e9
    try:
        run = read_run(folder)
        state = _state(status(folder))
        return FoundRun(name, run["grid"], run["total_points"], state, age_s, size, _settings(run))
    except (OSError, pa.ArrowException, BadInput) as error:
        wrong = str(error) if isinstance(error, BadInput) else f"{folder}: cannot be read: {reason(error)}"
        return FoundRun(name, "", None, "damaged", age_s, size, {}, wrong)


def _state(found: Mapping[str, Any]) -> str:
    """The progress of a run, in a word or two."""
    failed = f", {found['failed_points']} failed" if found["failed_points"] else ""
    if found["finished"] and not found["driver"]:
        return f"done{failed}"
    share = 100 * found["done"] // max(1, found["chunks"])
    return f"{'running' if found['driver'] else 'stopped'}, {share} %{failed}"


def _settings(run: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a run's points: overrides by key as typed, and the hash of its code."""
    found = {}
    for text in run["overrides"]:
        key, _, value = text.lstrip("+").partition("=")
        if key != "grid" and key.partition(".")[0] != "runner" and (key not in settings.NAMES or key in OF_POINTS):
            found[key] = value
    return {**found, "code": run["code"][:8]}
