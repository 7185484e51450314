"""The data of a group of lanes from which its metrics are derived, and the weights of its times."""

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
    """The data of a group of lanes from which its metrics are derived."""

    policy: Policy
    kind: Kind  # a build, or a closed loop
    shape: Shape
    replica: np.ndarray
    lanes: Columns  # parameters by name, in their units
    events: np.ndarray  # flush events of the whole build, or of one operation
    think_ns: np.ndarray  # mean compute between flush events of a CPU
    bookkeeping_ns: np.ndarray  # mean bookkeeping of a flush event
    full_share: np.ndarray  # share of flush events with a full flush
    range_pages: np.ndarray  # mean pages that a flush event flushes one by one

    @property
    def tick(self) -> np.ndarray:
        """Whether ticks charge time, not interrupt entries."""
        return self.lanes["accounting"] == "tick"

    @property
    def system_share(self) -> np.ndarray:
        """The share of CPU time that is system time: a tick that a handler delays charges the interrupted mode."""
        return self.lanes["base_system_s"] / (self.lanes["user_s"] + self.lanes["base_system_s"])

    @property
    def refill_system_ns(self) -> np.ndarray:
        """The system time of the misses after one full flush."""
        if not (self.policy.flushes_ranges or self.policy.targets is Targets.HARDWARE or self.policy.checks):
            return np.zeros_like(self.events)  # no CPU flushes, so the costs may be unknown
        return self.lanes["refill_system_share"] * self.lanes["refill_ns"]

    @property
    def build(self) -> np.ndarray:
        """The factor from ns per flush event to s per build."""
        return self.events * 1e-9


def times(scenario: Scenario) -> dict[str, Weights]:
    """The times with a half-width, by its key; the first one stops lanes."""
    of_builds = {} if scenario.kind is Kind.LOOP else {"half_ns": system_time(scenario)}
    return of_builds | {"overhead_half_ns": overhead(scenario)}


def overhead(scenario: Scenario) -> Weights:
    """The overhead per flush event without marks, if all busy CPUs are senders."""
    ones = np.ones_like(scenario.events)
    return Weights(
        fixed_ns=scenario.think_ns,
        handler=0.0 * ones,
        handler_compute=ones,
        refill_ns=if_read(scenario.lanes, "refill_ns"),
        range_miss_ns=if_read(scenario.lanes, "user_refill_ns"),
    )


def if_read(lanes: Columns, name: str) -> np.ndarray:
    """A cost, or 0 if the policy does not read it."""
    return np.nan_to_num(lanes.get(name, np.zeros(len(lanes["cores"]))))


def system_time(scenario: Scenario) -> Weights:
    """The system time per flush event, for the stop at a precision: `system_time_s` without marks."""
    tick = scenario.tick
    return Weights(
        fixed_ns=scenario.lanes["base_system_s"] / scenario.events * 1e9,
        handler=np.where(tick, 0.0, -1.0),
        handler_compute=np.where(tick, scenario.system_share, 1.0),
        refill_ns=scenario.refill_system_ns,
        range_miss_ns=np.zeros_like(scenario.events),
    )
