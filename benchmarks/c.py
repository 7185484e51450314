"""The rules in C, for policy xpfo: built by gcc in a temporary folder, called through ctypes on arrays.

`coarse.c` and `exact.c` are what a programmer would write who needs nothing else; they show what a compiled engine of
the simulation could reach. `Machine` is driven as the engines are (`sim/machine/engines.py`).
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from shutil import which

import numpy as np

from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.compiled.interrupts import COSTS, SLOW
from sim.machine.compiled.state import rows
from sim.metrics import Counts

HERE = Path(__file__).parent
OPTIONS = ("-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared")  # fused operations would round differently
COUNTS = ("interrupts", "handler_ns", "handler_compute_ns", "refills")
SIZES = ("lanes", "cpus", "sockets", "busy", "senders", "reach", "kinds", "draws")
ARRAYS = (
    "costs compute which pages replica think_ns alloc_share cumulative bookkeeping_ns local_ns full used state counts"
).split()


class Lanes(ctypes.Structure):
    """`struct lanes` of lanes.h."""

    _fields_ = [(name, ctypes.c_long) for name in SIZES] + [(name, ctypes.c_void_p) for name in ARRAYS]


def has_gcc() -> bool:
    return which("gcc") is not None


@cache
def build(rule: str) -> ctypes.CDLL:
    """The compiled program of a rule, `coarse` or `exact`."""
    if not has_gcc():
        raise ModuleNotFoundError("gcc is not installed: the rules in C are compiled by it")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, f"{rule}.so")
        subprocess.run(["gcc", *OPTIONS, "-o", library, HERE / f"{rule}.c", "-lm"], check=True)
        program = ctypes.CDLL(str(library))
    program.bytes_of_lane.restype = ctypes.c_long
    return program


class Machine:
    """All lanes of a group."""

    def __init__(
        self, rule: str, shape: Shape, cost: Mapping[str, np.ndarray], events: FlushEvents, lanes: int
    ) -> None:
        """As `build_machine` takes them; the policy is xpfo."""
        self._program, self._events, self.lanes = build(rule), events, lanes
        slow = shape.mean_slowdown(shape.cores, cost["smt_slowdown"])
        by_kind = ("cumulative", "bookkeeping_ns", "local_ns", "full")
        self._arrays = {name: np.ascontiguousarray(getattr(events, name).T) for name in by_kind}
        self._arrays |= {
            "costs": rows({**cost, "smt_slowdown": slow}, COSTS[: SLOW + 1], lanes),  # those of xpfo
            "replica": events.replica_row.astype(np.int64),
            "think_ns": events.think_ns,
            "alloc_share": events.alloc_share,
            "used": np.zeros((lanes, shape.flushers), dtype=np.int64),
            "counts": np.zeros((lanes, len(COUNTS))),
        }
        self._sizes = {
            "lanes": lanes,
            "cpus": shape.cores,
            "sockets": shape.sockets,
            "busy": shape.busy,
            "senders": shape.flushers,
            "reach": shape.reach,
            "kinds": len(events.cumulative),
        }
        room = self._program.bytes_of_lane(ctypes.byref(Lanes(**self._sizes)))
        self._arrays["state"] = np.zeros((lanes, room), dtype=np.uint8)

    @property
    def counts(self) -> Counts:
        return Counts(**vars(Counts.zero(self.lanes)) | dict(zip(COUNTS, self._arrays["counts"].T, strict=True)))

    def reset(self) -> None:
        self._arrays["counts"][:] = 0.0

    def serve(self, waits: np.ndarray, windows: np.ndarray) -> None:
        """Serve as many flush events in every lane as there are rows; their waits and windows, [event, lane]."""
        while self._arrays["used"].max() + len(waits) + 1 >= self._events.tables()[0].shape[2]:
            self._events.draw_ahead(True, False)  # of one CPU there may be so many more
        tables = dict(zip(("compute", "which", "pages"), self._events.tables(), strict=False))
        arrays = self._arrays | tables
        for name, values in arrays.items():
            assert values.flags.c_contiguous, name
        pointers = {name: values.ctypes.data for name, values in arrays.items()}
        lanes = Lanes(**self._sizes, draws=tables["compute"].shape[2], **pointers)
        self._program.serve(
            ctypes.byref(lanes),
            ctypes.c_long(len(waits)),
            ctypes.c_void_p(waits.ctypes.data),
            ctypes.c_void_p(windows.ctypes.data),
        )
