"""What a TLB-flush policy costs on a machine, and what it leaves exposed: numpy simulations of many lanes at once."""

from sim.metrics import METRICS
from sim.parameters import PARAMETERS
from sim.simulation import simulate

__all__ = ["METRICS", "PARAMETERS", "simulate"]
