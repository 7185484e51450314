"""The user's request."""

from __future__ import annotations

from dataclasses import dataclass

from sweep.inputs.settings import Runner
from sweep.plan.open import Composition


@dataclass(frozen=True)
class Request:
    """The user's request, with a checked command line."""

    composition: Composition
    runner: Runner
    overrides: tuple[str, ...] = ()
    command: str = ""  # to be typed again; empty without a command line
    config_dir: str | None = None  # the user's own folder of configuration files
    out: str | None = None
    max_cpu_hours: float = 24.0
    quiet: bool = False
    reuse: str | None = None
    max_failures: int | None = None
    retry_failed: bool = False
    commit: str | None = None
    report: bool = False
    dry_run: bool = False
