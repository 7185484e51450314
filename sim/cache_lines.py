"""Cache lines on their way between CPUs: how far two CPUs are apart, and how long a line takes over each distance.

Ref: compare-exchange ping-pong between pairs of CPUs, github.com/nviennot/core-to-core-latency; `conf/machine/` has the
     times of each machine with their source
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from sim.topology import Shape

# The CPU itself holds the line; it is in the other thread of its core, in a core that shares its last-level cache, in
# another one of its socket, or in another socket.
SAME, SIBLING, CLUSTER, SOCKET, CROSS = range(5)


@lru_cache(maxsize=8)
def distances(shape: Shape) -> np.ndarray:
    """How far two CPUs are apart, [cpu, cpu] of SAME to CROSS."""
    out = np.full((shape.cores, shape.cores), CROSS, dtype=np.uint8)
    for distance, member_of in ((SOCKET, shape.socket), (CLUSTER, shape.cluster), (SIBLING, shape.core)):
        out[member_of[:, None] == member_of] = distance
    np.fill_diagonal(out, SAME)
    out.flags.writeable = False
    return out


def line_times_ns(shape: Shape, cost: Mapping[str, np.ndarray]) -> np.ndarray:
    """How long a line takes over each distance, [lane, distance].

    Where nobody says how long it takes to a sibling, or in a cluster, it is the next longer distance's time. Raises
    ValueError where it is not said of the other socket, and there is one.
    """
    unknown = np.full_like(cost["line_socket_ns"], np.nan)
    socket = cost["line_socket_ns"]
    cluster, sibling, cross = (cost.get(f"line_{name}_ns", unknown) for name in ("cluster", "sibling", "cross"))
    cluster = np.where(np.isnan(cluster) | (shape.cluster_cores is None), socket, cluster)
    sibling = np.where(np.isnan(sibling), cluster, sibling)
    if shape.sockets > 1 and np.isnan(cross).any():
        raise ValueError(f"line_cross_ns is not given: must be a number with sockets={shape.sockets}")
    cross = np.where(np.isnan(cross), socket, cross)  # of the only socket: never met
    return np.stack([cost["line_hit_ns"], sibling, cluster, socket, cross], axis=1)


def mean_line_ns(apart: np.ndarray, line_ns: np.ndarray) -> np.ndarray:
    """The mean time of a line over these distances, [lane]; `apart` has any shape, `line_ns` is [lane, distance]."""
    share = np.bincount(apart.ravel(), minlength=CROSS + 1) / apart.size
    total = np.zeros(len(line_ns))
    for distance in range(CROSS + 1):  # distance by distance: a lane does not notice its neighbours
        total = total + (share[distance] * line_ns[:, distance] if share[distance] else 0.0)
    return total


def flags_ns(shape: Shape, cost: Mapping[str, np.ndarray]) -> np.ndarray:
    """Reading the flag of every other online CPU, by the CPU that reads, [cpu, lane]: such reads overlap."""
    line_ns = line_times_ns(shape, cost)
    out = np.zeros((shape.flushers, len(line_ns)))
    for k in range(shape.flushers):
        others = np.delete(distances(shape)[k], k)
        out[k] = len(others) * cost["ack_lines"] * mean_line_ns(others, line_ns) if len(others) else 0.0
    return out
