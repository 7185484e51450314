"""Policies by file name: which there are, their modules, what each of them reads, and how to add a folder."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sim.abi import Build, Flush, Line, Own, Targets, every_event

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
_LOCAL_FLUSH = "ceiling flush_fixed_ns invlpg_ns flush_all_ns refill_ns refill_system_share user_refill_ns".split()
_INTERRUPTS = (
    "mask_scan_ns enqueue_ns enqueue_busy_ns ipi_send_ns ipi_latency_ns ipi_latency_cross_ns irq_entry_ns handler_ns "
    "irq_exit_ns ack_ns ack_cross_ns idle_exit_ns smt_slowdown"
).split()
_HARDWARE = "ceiling broadcast_ns broadcast_page_ns broadcast_all_ns refill_ns refill_system_share".split()
_NOTE = "mask_line_ns mask_line_cross_ns".split()
_FLAGS = "ack_ns ack_cross_ns".split()
_COUNT_EVENTS = "pcp_batch pcp_refill_share ownership_change_share".split()  # read by `events` of some policies


def policy_names() -> list[str]:
    """Every policy there is, by file name."""
    return sorted({path.stem for folder in __path__ for path in Path(folder).glob("[a-z]*.py")})


def policy_module(name: str) -> ModuleType:
    """The module of a policy by its file name; ValueError where there is none."""
    if not name.isidentifier():
        raise ValueError(f"policy={name!r}: must be a name")
    try:
        return importlib.import_module(f"sim.policies.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"sim.policies.{name}":
            raise
        raise ValueError(f"policy={name!r}: no sim/policies/{name}.py") from None


def reads(module: ModuleType) -> tuple[str, ...]:
    """The parameters that a policy reads, by name, each once."""
    flush: Flush = module.flush()
    one = np.ones(1)
    build = _Recorder(Build(one, one, (1,), np.ones((1, 1)), one, one, one))
    events = getattr(module, "events", every_event)(build)  # type: ignore[arg-type]
    if not events.total.any():
        return tuple(_BASELINE)
    names = [*_EVERY_EVENT, *(name for name in _COUNT_EVENTS if name in build.read)]
    if flush.tell is Targets.HARDWARE:
        names += _HARDWARE
    elif flush.own is not Own.NEVER or flush.tell is not Targets.NOBODY:
        names += _LOCAL_FLUSH
    if flush.tell.interrupts:
        names += _INTERRUPTS
    if flush.post is not None:
        names += _NOTE
        names += _FLAGS if flush.post.line is Line.PER_CPU else []
    for look, parameters in LOOKS.items():
        names += parameters if hasattr(module, look) else []
    return tuple(dict.fromkeys(names))


def add_policies(folder: str) -> None:
    """Find policies in this folder too, by file name, after the package's own."""
    if folder not in __path__:
        __path__.append(folder)
        importlib.invalidate_caches()


class _Recorder:
    """A build that remembers which of its fields were read."""

    def __init__(self, build: Build) -> None:
        self._build, self.read = build, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._build, name)
