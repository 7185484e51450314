"""The hash of the code that turns a point into numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import sim


def code_hash(policy_path: str | None = None) -> str:
    """Hash of the code that simulates, the user's own policies included."""
    digest = hashlib.sha256()
    for root in [Path(sim.__file__).parent, *([Path(policy_path)] if policy_path else [])]:
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
