"""Broadcasts by interrupts in C, for policy xpfo: built by gcc in a temporary folder, called through ctypes on arrays.

`broadcast.c` is a direct program for this one task, as a bound for a compiled engine. `Machine` has the interface of
the engines (`sim/machine/engines.py`).
"""

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from shutil import which

import numpy as np

from sim.cache_lines import distances, line_times_ns
from sim.counts import Records, no_counts
from sim.events import FlushEvents
from sim.topology import Shape

SOURCE = Path(__file__).with_name("broadcast.c")
OPTIONS = ("-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared")  # fused operations would round differently
COUNTS = ("interrupts", "handler_ns", "handler_compute_ns", "refills")
COSTS = (
    "mask_scan_ns enqueue_fixed_ns queue_lines csd_lines ipi_send_ns ipi_latency_ns ipi_latency_cross_ns irq_entry_ns "
    "handler_fixed_ns request_lines irq_exit_ns ack_lines idle_exit_ns refill_ns user_refill_ns"
).split()
SIZES = ("lanes", "cpus", "busy", "senders", "reach", "kinds", "draws")
ARRAYS = (
    "costs compute which pages replica think_ns alloc_share cumulative bookkeeping_ns local_ns full line apart slow "
    "slow_sender socket used state counts"
).split()


class Lanes(ctypes.Structure):
    """`struct lanes` of broadcast.c."""

    _fields_ = [(name, ctypes.c_long) for name in SIZES] + [(name, ctypes.c_void_p) for name in ARRAYS]


def has_gcc() -> bool:
    return which("gcc") is not None


@cache
def build() -> ctypes.CDLL:
    """The compiled program."""
    if not has_gcc():
        raise ModuleNotFoundError("gcc is not installed: it is needed for the program in C")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "broadcast.so")
        subprocess.run(["gcc", *OPTIONS, "-o", library, SOURCE, "-lm"], check=True)
        program = ctypes.CDLL(str(library))
    program.bytes_of_lane.restype = ctypes.c_long
    return program


class Machine:
    """All lanes of a group."""

    def __init__(self, shape: Shape, cost: Mapping[str, np.ndarray], events: FlushEvents) -> None:
        """Arguments as of `build_machine`; the policy is xpfo."""
        self._program, self._events, self.lanes = build(), events, len(events.replica_row)
        slowed = np.zeros(shape.cores, dtype=bool)
        slowed[: shape.busy] = shape.with_sibling(shape.busy)
        factor = cost["smt_slowdown"][:, None]
        by_kind = ("cumulative", "bookkeeping_ns", "local_ns", "full")
        self._arrays = {name: np.ascontiguousarray(getattr(events, name).T) for name in by_kind}
        self._arrays |= {
            "costs": np.column_stack([cost[name] for name in COSTS]),
            "line": line_times_ns(shape, cost),
            "apart": distances(shape),
            "slow": np.where(shape.with_sibling(shape.cores), factor, 1.0),
            "slow_sender": np.where(slowed, factor, 1.0),
            "socket": shape.socket,
            "replica": events.replica_row.astype(np.int64),
            "think_ns": events.think_ns,
            "alloc_share": events.alloc_share,
            "used": np.zeros((self.lanes, shape.senders), dtype=np.int64),
            "counts": np.zeros((self.lanes, len(COUNTS))),
        }
        self._sizes = {
            "lanes": self.lanes,
            "cpus": shape.cores,
            "busy": shape.busy,
            "senders": shape.senders,
            "reach": shape.reach,
            "kinds": len(events.cumulative),
        }
        room = self._program.bytes_of_lane(ctypes.byref(Lanes(**self._sizes)))
        self._arrays["state"] = np.zeros((self.lanes, room), dtype=np.uint8)

    @property
    def counts(self) -> Records:
        """Counts in the engines' form."""
        out = no_counts(self.lanes)
        for name, values in zip(COUNTS, self._arrays["counts"].T, strict=True):
            out[name] = values
        return out

    def reset(self) -> None:
        self._arrays["counts"][:] = 0.0

    def serve(self, waits: np.ndarray, windows: np.ndarray) -> None:
        """Serve one flush event per row in every lane; write their waits and windows, [event, lane]."""
        while self._arrays["used"].max() + len(waits) + 1 >= self._events.tables()[0].shape[2]:
            self._events.draw_ahead(True, False)  # one CPU may need that many more
        tables = dict(zip(("compute", "which", "pages"), self._events.tables(), strict=False))
        arrays = self._arrays | tables
        for name, values in arrays.items():
            assert values.flags.c_contiguous, name
        assert waits.flags.f_contiguous
        assert windows.flags.f_contiguous
        pointers = {name: values.ctypes.data for name, values in arrays.items()}
        lanes = Lanes(**self._sizes, draws=tables["compute"].shape[2], **pointers)
        self._program.serve(
            ctypes.byref(lanes),
            ctypes.c_long(len(waits)),
            ctypes.c_void_p(waits.ctypes.data),
            ctypes.c_void_p(windows.ctypes.data),
        )
