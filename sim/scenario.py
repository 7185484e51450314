"""What a group of lanes simulates, as far as its metrics are made from it, and what its time is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.counts import Weights
from sim.parameters import Kind
from sim.policy import Policy, Targets
from sim.topology import Shape

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Scenario:
    """What a group of lanes simulates, as far as its metrics are made from it."""

    policy: Policy
    kind: Kind  # of a closed loop `events` are those of one operation
    shape: Shape
    replica: np.ndarray
    lanes: Columns  # parameters by name, in their units
    events: np.ndarray  # flush events of the whole build, or of one operation
    think_ns: np.ndarray  # mean compute between flush events of a CPU
    bookkeeping_ns: np.ndarray  # of a mean flush event
    full_share: np.ndarray  # of flush events, those that flush fully
    range_pages: np.ndarray  # pages flushed one by one in a mean flush event

    @property
    def tick(self) -> np.ndarray:
        """Whether the tick books time, and not the interrupt entry."""
        return self.lanes["accounting"] == "tick"

    @property
    def system_share(self) -> np.ndarray:
        """Share of CPU time that is system time: a tick held back by a handler charges the interrupted mode."""
        return self.lanes["base_system_s"] / (self.lanes["user_s"] + self.lanes["base_system_s"])

    @property
    def refill_system_ns(self) -> np.ndarray:
        """System time of the misses after one full flush."""
        if not (self.policy.flushes_ranges or self.policy.targets is Targets.HARDWARE or self.policy.checks):
            return np.zeros_like(self.events)  # no CPU flushes, so that they need not be known
        return self.lanes["refill_system_share"] * self.lanes["refill_ns"]

    @property
    def build(self) -> np.ndarray:
        """From ns per flush event to s per build."""
        return self.events * 1e-9


def times(scenario: Scenario) -> dict[str, Weights]:
    """The time that lanes stop by, first, and what else has an interval, by the key of its half-width."""
    of_builds = {} if scenario.kind is Kind.LOOP else {"half_ns": system_time(scenario)}
    return of_builds | {"overhead_half_ns": overhead(scenario)}


def overhead(scenario: Scenario) -> Weights:
    """What work takes per flush event beside computing, without marks, if all busy CPUs make flush events."""
    ones = np.ones_like(scenario.events)
    return Weights(
        fixed_ns=scenario.think_ns,
        handler=0.0 * ones,
        handler_compute=ones,
        refill_ns=_if_read(scenario.lanes, "refill_ns"),
        range_miss_ns=_if_read(scenario.lanes, "user_refill_ns"),
    )


def _if_read(lanes: Columns, name: str) -> np.ndarray:
    """A cost, 0 where the policy reads none of that name."""
    return np.nan_to_num(lanes.get(name, np.zeros(len(lanes["cores"]))))


def system_time(scenario: Scenario) -> Weights:
    """What system time is made of per flush event, for stopping at a precision: `system_time_s` without marks."""
    tick = scenario.tick
    return Weights(
        fixed_ns=scenario.lanes["base_system_s"] / scenario.events * 1e9,
        handler=np.where(tick, 0.0, -1.0),
        handler_compute=np.where(tick, scenario.system_share, 1.0),
        refill_ns=scenario.refill_system_ns,
        range_miss_ns=np.zeros_like(scenario.events),
    )
