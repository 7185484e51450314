"""run.json: what a reader needs to trust or repeat a run, and whether a folder belongs to a plan."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweep import __version__
from sweep.errors import BadInput
from sweep.plan.code import code_hash
from sweep.plan.plan import Plan
from sweep.run.request import Request
from sweep.store.folder import Folder


def claim(folder: Folder, run: dict[str, Any]) -> None:
    """Write run.json, or check that the one there is of the same plan; BadInput naming the first difference."""
    if folder.exists("run.json"):
        try:
            before = json.loads(folder.read("run.json"))
        except ValueError:
            raise BadInput(f"out={folder}: holds a run.json that is not JSON; choose another folder") from None
        if before.get("plan") != run["plan"]:
            raise BadInput(f"out={folder}: holds another plan: {_first_difference(before, run)}; choose another folder")
        if before.get("chunk_bounds") != run["chunk_bounds"]:
            raise BadInput(f"out={folder}: its parts are cut at chunk_s={before['chunk_s']}, not {run['chunk_s']}")
        return
    if folder.names("parts") or folder.exists("results.parquet"):
        raise BadInput(f"out={folder}: holds parts or results without a run.json; choose another folder")
    folder.write("run.json", json.dumps(run, indent=2, default=str).encode() + b"\n")


def _first_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    for part in ("points", "code", "versions"):
        old, new = before.get(part), after.get(part)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            for key in [*old, *new]:
                if old.get(key) != new.get(key):
                    return f"{part}.{key} was {old.get(key)!r} and is {new.get(key)!r}"
        return f"{part} was {old!r} and is {new!r}"
    return f"its plan hash is {str(before.get('plan'))[:8]}, not {str(after['plan'])[:8]}"


def describe(plan: Plan, request: Request) -> dict[str, Any]:
    """run.json: what a reader needs to trust or repeat the run."""
    return {
        "plan": plan.hash,
        "grid": plan.name,
        "question": plan.question,
        "overrides": list(request.overrides),
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
            "draws": plan.draws,
        },
        "code": code_hash(plan.policy_path),
        "versions": {"sweep": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "pandas", "pyarrow", "hydra-core")},
        "commit": request.commit or commit(),
        "chunk_s": plan.chunk_s,
        "chunk_bounds": len(plan.chunks) - 1,
    }


def _short(values: Any) -> Any:
    return (
        [str(value) if not isinstance(value, int | float | str) else value for value in values]
        if len(values) <= 50
        else f"{len(values)} values from {values[0]} to {values[len(values) - 1]}"
    )


def commit() -> str | None:
    """The commit of this checkout and whether it is dirty, or None outside one."""
    root = Path(__file__).resolve().parent.parent.parent
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, timeout=10, check=True,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
