"""Simulate the costs and the stale windows of TLB-flush policies, many lanes at once."""

from sim.metrics import METRICS
from sim.parameters import PARAMETERS
from sim.simulation import simulate

__all__ = ["METRICS", "PARAMETERS", "simulate"]
