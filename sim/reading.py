"""The parameters that a policy reads."""

from functools import lru_cache
from typing import Any

import numpy as np

from sim.parameters import PARAMETERS, Kind, Reader
from sim.policy import Build, Line, Policy, Targets

COUNTED = tuple(name for name, parameter in PARAMETERS.items() if Reader.COUNT in parameter.readers)


@lru_cache(maxsize=1024)
def reads(policy: Policy, kind: Kind = Kind.BUILD) -> tuple[str, ...]:
    """The names of the parameters that a policy reads for a build or a closed loop, in the order of the table."""
    counted = _counted(policy)
    readers = _readers(policy) if counted is not None else {Reader.WORK}
    if kind is Kind.LOOP:
        readers = readers | {Reader.LOOPS}
    return tuple(
        name
        for name, parameter in PARAMETERS.items()
        if parameter.kind in (Kind.ANY, kind) and (readers & {*parameter.readers} or name in (counted or ()))
    )


def _readers(policy: Policy) -> set[Reader]:
    """The readers of a policy that makes flush events."""
    is_a = {
        Reader.EVENTS: True,
        Reader.LOCAL: policy.targets is not Targets.HARDWARE and policy.flushes_ranges,
        Reader.CHECKS: bool(policy.checks) or policy.has_deadline,
        Reader.INTERRUPTS: policy.targets.interrupts,
        Reader.GENERATIONS: policy.run.catches_up,
        Reader.FABRIC: policy.targets is Targets.HARDWARE,
        Reader.MARK: policy.mark is not None,
        Reader.CONTENDED: policy.mark is not None and policy.mark.line in (Line.GLOBAL, Line.NODE),
        Reader.FLAGS: policy.mark is not None and policy.mark.line is Line.PER_CPU,
        Reader.COPIES: policy.reads_line,
        Reader.SWITCH: policy.switch_to_user is not None,
        Reader.TICK: policy.tick is not None,
        Reader.ENTRY: policy.kernel_entry is not None,
        Reader.MIGRATION: policy.migration is not None,
        Reader.STATE: policy.targets.looks_for_user_mode,
        Reader.DEADLINE: policy.has_deadline,
    }
    return {reader for reader, it_is in is_a.items() if it_is}


def _counted(policy: Policy) -> set[str] | None:
    """The fields of a build that `events` of the policy reads; None if the policy makes no flush events."""
    one = np.ones(1)
    build = _Recorder(Build(one, one, (1,), np.ones((1, 1)), one, one, one, one))
    return build.read & {*COUNTED} if policy.count(build).total.any() else None  # type: ignore[arg-type]


class _Recorder:
    """A build that records the names of the fields that are read."""

    def __init__(self, build: Build) -> None:
        self._build, self.read = build, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._build, name)
