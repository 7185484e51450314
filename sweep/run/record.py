"""run.json: the facts for trusting or repeating a run, version and commit too; the check of its folder."""

import hashlib
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sweep.errors import BadInput, Stopped
from sweep.inputs.door import shorten
from sweep.inputs.measured import FILE, as_json
from sweep.messages import say, without_credentials
from sweep.plan.code import code_hash
from sweep.plan.engine import APPROXIMATE
from sweep.plan.plan import Plan
from sweep.run.request import Request
from sweep.store.folder import Folder
from sweep.store.parts import chunk_of, committed
from sweep.store.run_json import NAME, read_run

try:
    VERSION = version("xpfo-sweep")
except PackageNotFoundError:  # a checkout that is not installed, as in a Ray job
    VERSION = "unknown"

A_FOLDER = os.path.isdir, "folder", os.R_OK | os.W_OK | os.X_OK  # a check of its kind, and our access
A_FILE = os.path.isfile, "file", os.R_OK
FOLDERS = ("parts", "broken", "tables", "plots", "journal")
FILES = (NAME, "results.parquet", "results.sha256", "failures.parquet", "journal.jsonl", "lock.json", "report.html")


def check(folder: Folder, run: dict[str, Any]) -> None:
    """BadInput if a run cannot use this folder: it belongs to another plan, or is not writable."""
    where = f"out={folder}"
    if folder.local:
        _check_access(folder, where)
    if folder.exists(NAME):
        try:
            before = read_run(folder)
        except BadInput as error:
            raise BadInput(f"{where}: {error}; choose another folder") from None
        if before["plan"] != run["plan"]:
            raise BadInput(f"{where}: belongs to another plan: {_first_difference(before, run)}; choose another folder")
        if before["chunk_bounds"] != run["chunk_bounds"]:
            raise BadInput(f"{where}: its chunks have chunk_s={before['chunk_s']}, not {run['chunk_s']}")
        return
    if folder.names("parts") or folder.exists("results.parquet"):
        raise BadInput(f"{where}: has parts or results without a run.json; choose another folder")


@contextmanager
def claimed(folder: Folder, run: dict[str, Any]) -> Iterator[None]:
    """Write run.json, after all checks; it describes this run while nothing is committed.

    It is written again at the end if it was removed or changed: parts are useless without it.
    """
    check(folder, run)
    if not folder.exists(NAME) or not committed(folder):
        folder.write(NAME, json.dumps(run, indent=2, default=str).encode() + b"\n")
    content = folder.read(NAME)
    try:
        yield
    finally:
        with suppress(BadInput, OSError, Stopped):  # the folder may be gone
            if committed(folder) and not (folder.exists(NAME) and folder.read(NAME) == content):
                folder.write(NAME, content)
                say(f"{folder}/{NAME} was removed or changed during the sweep, and is written again")


def check_versions(folder: Folder, run: dict[str, Any]) -> None:
    """BadInput if the folder's parts were computed by another numpy: results would mix both."""
    before, now = read_run(folder).get("versions", {}).get("numpy"), run["versions"]["numpy"]
    if before not in (None, now):
        raise BadInput(
            f"out={folder}: its parts were computed with numpy {before}, and this is numpy {now}: results would mix "
            f"both; choose another folder with out=, or continue with numpy {before}"
        )


def _check_access(folder: Folder, where: str) -> None:
    """BadInput if the folder, or one of our names in it, is of another kind, or another user's."""
    if not os.path.lexists(folder.path):
        return
    if not os.path.isdir(folder.path):
        raise BadInput(f"{where}: is a file, not a folder; choose another folder")
    if not os.access(folder.path, A_FOLDER[-1]):
        raise BadInput(f"{where}: cannot be read and written; choose another folder")
    parts: list[str] = []
    with suppress(OSError):  # as below
        parts = os.listdir(folder.child("parts"))
    for name in (*FOLDERS, *FILES, *(f"parts/{name}" for name in parts if chunk_of(name) is not None)):
        path = folder.child(name)
        is_right, kind, access = A_FOLDER if name in FOLDERS else A_FILE
        if not os.path.lexists(path):
            continue
        if not is_right(path):
            raise BadInput(f"{where}: {name} must be a {kind}; move it away")
        if not os.access(path, access):
            remedy = f"`chown -R $(id -un) {shlex.quote(path)}` makes it yours, or choose another folder"
            raise BadInput(f"{where}: {name} cannot be read or written: it may be another user's; {remedy}")


def _first_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The first value that differs, by its path."""
    for part in ("points", "sources", "code", "versions"):
        if changed := difference(part, before.get(part), after.get(part)):
            return changed
    return f"its plan hash is {str(before.get('plan'))[:8]}, not {str(after['plan'])[:8]}"


def difference(path: str, old: Any, new: Any) -> str | None:
    """The first difference of two values of JSON."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(f"{path}.{key}", old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new])]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(f"{path}[{at}]", *both) for at, both in enumerate(zip(old, new, strict=True))]
    else:
        return None if old == new else f"{path} was {shorten(old)} and is {shorten(new)}"
    return next((found for pair in pairs if (found := difference(*pair))), None)


def describe(plan: Plan, request: Request) -> dict[str, Any]:
    """run.json: the facts for trusting or repeating the run."""
    overrides = [without_credentials(text) for text in request.overrides]
    folder = ["--config-dir", request.config_dir] if request.config_dir else []
    return {
        "plan": plan.hash,
        "grid": plan.name,
        "question": plan.question,
        "answer": request.composition.answer,
        "total_points": len(plan),
        "command": without_credentials(request.command) or shlex.join(["sweep", *folder, *overrides]),
        "overrides": overrides,
        "own_files": own_files(request.config_dir),
        "points": {
            "blocks": [
                {
                    name: _short(values)
                    for axis in block.axes
                    for name, values in zip(axis.names, axis.values, strict=True)
                }
                for block in plan.space.blocks
            ],
            "defaults": dict(plan.space.defaults),
            "cut": list(plan.cut) if plan.cut else None,
            "seed": plan.seed,
            "replicas": plan.replicas,
            "machines": list(plan.space.machines),
            "workloads": list(plan.space.workloads),
            "costs": list(plan.space.costs),
            "measured_costs": plan.measured_costs,
            "draws": plan.draws,
        },
        "measured": as_json(
            request.composition.measured, request.composition.content.get("validation"), plan.measured_machines
        ),
        "sources": json.loads(json.dumps(plan.sources, default=str)),
        "code": code_hash(plan.policy_path),
        "versions": {"sweep": VERSION, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "pandas", "pyarrow", "hydra-core")},
        "approximation": APPROXIMATE if plan.is_approximate else None,
        "commit": request.settings.commit or commit(),
        "chunk_s": plan.chunk_s,
        "chunk_bounds": len(plan.chunks) - 1,
    }


def _short(values: Any) -> Any:
    if len(values) > 50:
        return f"{len(values)} values from {values[0]} to {values[len(values) - 1]}"
    return [value if isinstance(value, int | float | str) else str(value) for value in values]


def own_files(config_dir: str | None) -> dict[str, str]:
    """SHA-256 of every configuration file of the user's own folder, by its name in it."""
    found: dict[str, str] = {}
    if not config_dir:
        return found
    root = Path(config_dir)
    for path in sorted([*root.glob("*/[!.]*"), *root.glob(FILE)]):
        try:
            if path.is_file():
                found[path.relative_to(root).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            found[path.name] = "cannot be read"
    return found


def commit() -> str | None:
    """The commit, marked if its files were changed; None for a release, or if neither git nor the package has one."""
    built_from = VERSION.partition("+")[2].removeprefix("g")  # hatch-vcs: 0.1.dev471+g72a4bfd01
    return of_checkout(Path(__file__).resolve().parents[2]) or built_from or None


def of_checkout(root: Path) -> str | None:
    """The commit of the checkout with this root, without regard to git's environment; None if it is no checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, timeout=10, check=True,
            env={**environment, "GIT_CEILING_DIRECTORIES": str(root.parent)},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
