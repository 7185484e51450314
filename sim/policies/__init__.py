"""Policies by file name: which there are, their modules, what each of them reads, and a folder of the user's own."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from sim.abi import Build, Flush, Line, Run, Targets, check_events, check_policy, every_event
from sim.loop import BUILD, LOOP

NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")  # of a policy's file, without .py

LOOKS = {  # functions of a policy that look at a note, and the parameters that say how often that is
    "switch_to_user": "jobs user_switches_per_s switch_cv2 timeslice_ms".split(),
    "tick": ["tick_hz"],
    "kernel_entry": ["kernel_entries_per_s"],
    "migration": ["migrations_per_s"],
}

# Parameters by what reads them.
_BASELINE = "cores jobs user_s base_system_s serial_share kunmap_events alloc_events range_pages".split()
_EVERY_EVENT = (
    "cores sockets threads_per_core jobs apic user_s base_system_s serial_share accounting kunmap_events alloc_events "
    "range_pages think_ns flushers alloc_bookkeeping_ns kunmap_bookkeeping_ns"
).split()
_OPERATION = [*LOOP, "operation", "events_per_operation"]
_LOCAL_FLUSH = "ceiling flush_fixed_ns invlpg_ns flush_all_ns refill_ns refill_system_share user_refill_ns".split()
_FULL_FLUSH = "flush_all_ns refill_ns refill_system_share".split()  # what a look does that finds the note set
_INTERRUPTS = (
    "mask_scan_ns enqueue_ns enqueue_busy_ns ipi_send_ns ipi_latency_ns ipi_latency_cross_ns irq_entry_ns handler_ns "
    "irq_exit_ns ack_ns ack_cross_ns idle_exit_ns smt_slowdown fill delivery exit_ns deliver_ns receive_exit_ns "
    "wake_ns held_share held_ns"
).split()
_GENERATIONS = ["flush_mm_ns"]
_HARDWARE = "ceiling broadcast_ns broadcast_page_ns broadcast_all_ns refill_ns refill_system_share".split()
_NOTE = "mask_line_ns mask_line_cross_ns".split()
_FLAGS = "ack_ns ack_cross_ns".split()
_COPIES = "line_hit_ns line_fill_ns".split()
COUNT_EVENTS = (
    "pcp_batch pcp_refill_share ownership_change_share pool_pages".split()
)  # read by `events` of some policies


_own_folder: str | None = None  # of the user's policies, which come first


class NoSuchPolicy(ValueError):
    """There is no file of that name."""


class BadPolicyName(NoSuchPolicy):
    """No file of that name is looked for."""


def use_policies(folder: str | None) -> None:
    """Look for policies in this folder of the user's first, and in no other one but the package's; None: in none.

    Whoever is about to simulate a plan says so: the plans of one process may have different folders.
    """
    global _own_folder
    _own_folder = folder


def policy_files(folder: str | Path) -> dict[str, Path]:
    """The files of policies in a folder, by policy; hidden ones, and names that no policy can have, are passed over."""
    files = {path.stem: path for path in sorted(Path(folder).glob("*.py")) if NAME.fullmatch(path.stem)}
    return {name: path for name, path in files.items() if path.is_file()}


def policy_names() -> list[str]:
    """Every policy there is, by file name: the package's and those of the user's folder."""
    return sorted({*_package_files(), *_own_files()})


def hidden_policies() -> list[str]:
    """The policies of the package that a file of the user's folder stands in for."""
    return sorted({*_package_files()} & {*_own_files()})


def policy_module(name: str) -> ModuleType:
    """The module of a policy by its file name; NoSuchPolicy, a ValueError, where there is none.

    Whatever its file raises passes through; ValueError or TypeError in a sentence where it says what no machine models.
    """
    if not NAME.fullmatch(name):
        raise BadPolicyName(f"policy={name!r}: a policy's name is letters, digits and _, the first a letter")
    own = Path(_own_folder, f"{name}.py") if _own_folder is not None else None
    if own is not None and own.is_file():
        seen = own.stat()
        return _load(str(own), seen.st_mtime_ns, seen.st_size)
    if not any(Path(folder, f"{name}.py").is_file() for folder in __path__):
        raise NoSuchPolicy(f"policy={name!r}: no sim/policies/{name}.py")
    return _import(name)


def _package_files() -> dict[str, Path]:
    return {name: path for folder in __path__ for name, path in policy_files(folder).items()}


def _own_files() -> dict[str, Path]:
    return {} if _own_folder is None else policy_files(_own_folder)


@lru_cache(maxsize=1024)
def _import(name: str) -> ModuleType:
    """A policy of the package."""
    module = importlib.import_module(f"{__name__}.{name}")
    check_policy(module)
    return module


@lru_cache(maxsize=1024)
def _load(file: str, mtime_ns: int, size: int) -> ModuleType:
    """A policy of the user's, as its file is now, under a name that no other module has."""
    name = f"own_policy_{Path(file).stem}_{hashlib.sha256(file.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    spec = spec_from_file_location(name, file, loader=_Source(name, file))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    try:
        spec.loader.exec_module(module)
        check_policy(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Source(SourceFileLoader):
    """Compiles a file whenever it is loaded: what is cached is told apart by seconds only, and litters the folder."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def reads(module: ModuleType, loop: bool = False) -> tuple[str, ...]:
    """The parameters that a policy reads of a build, or of a workload that is a loop, by name, each once."""
    names = _reads(module)
    return tuple(dict.fromkeys([*(name for name in names if name not in BUILD), *_OPERATION] if loop else names))


def _reads(module: ModuleType) -> list[str]:
    flush: Flush = module.flush()
    one = np.ones(1)
    build = _Recorder(Build(one, one, (1,), np.ones((1, 1)), one, one, one, one))
    events = check_events(getattr(module, "events", every_event)(build), lanes=1)  # type: ignore[arg-type]
    if not events.total.any():
        return _BASELINE
    names = [*_EVERY_EVENT, *(name for name in COUNT_EVENTS if name in build.read)]
    if flush.tell is Targets.HARDWARE:
        names += _HARDWARE
    elif flush.flushes_ranges:
        names += _LOCAL_FLUSH
    if flush.tell.interrupts:
        names += _INTERRUPTS
    if flush.run is Run.CATCH_UP:
        names += _GENERATIONS
    if flush.post is not None:
        names += _NOTE
        names += _FLAGS if flush.post.line is Line.PER_CPU else []
        names += _COPIES if flush.post.reads_line else []
    for look, parameters in LOOKS.items():
        names += [*parameters, *_FULL_FLUSH] if hasattr(module, look) else []
    return names


class _Recorder:
    """A build that remembers which of its fields were read."""

    def __init__(self, build: Build) -> None:
        self._build, self.read = build, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._build, name)
