"""Transfers of cache lines: the distances between CPUs, and the time of a transfer over each distance.

Ref: compare-exchange ping-pong between pairs of CPUs, github.com/nviennot/core-to-core-latency; `conf/machine/` has the
     times of each machine with their source
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from sim.topology import Shape

# The line is in the cache of the CPU itself, of a sibling, of a core of its cluster, of another core of its socket, or
# of another socket.
SAME, SIBLING, CLUSTER, SOCKET, CROSS = range(5)


@lru_cache(maxsize=8)
def distances(shape: Shape) -> np.ndarray:
    """The distance between any two CPUs, [cpu, cpu] of SAME to CROSS."""
    out = np.full((shape.cores, shape.cores), CROSS, dtype=np.uint8)
    for distance, member_of in ((SOCKET, shape.socket), (CLUSTER, shape.cluster), (SIBLING, shape.core)):
        out[member_of[:, None] == member_of] = distance
    np.fill_diagonal(out, SAME)
    out.flags.writeable = False
    return out


def line_times_ns(shape: Shape, cost: Mapping[str, np.ndarray]) -> np.ndarray:
    """The time of a transfer over each distance, [lane, distance].

    If the time to a sibling or within a cluster is not given, it is that of the next longer distance. Raises ValueError
    if the time to another socket is not given and there is one.
    """
    unknown = np.full_like(cost["line_socket_ns"], np.nan)
    socket = cost["line_socket_ns"]
    cluster, sibling, cross = (cost.get(f"line_{name}_ns", unknown) for name in ("cluster", "sibling", "cross"))
    cluster = np.where(np.isnan(cluster) | (shape.cluster_cores is None), socket, cluster)
    sibling = np.where(np.isnan(sibling), cluster, sibling)
    if shape.sockets > 1 and np.isnan(cross).any():
        raise ValueError(f"line_cross_ns is not given: must be a number with sockets={shape.sockets}")
    cross = np.where(np.isnan(cross), socket, cross)  # with one socket, never used
    return np.stack([cost["line_hit_ns"], sibling, cluster, socket, cross], axis=1)


def mean_line_ns(apart: np.ndarray, line_ns: np.ndarray) -> np.ndarray:
    """The mean time of a transfer over the distances `apart`, of any shape, [lane]; `line_ns` is [lane, distance]."""
    share = np.bincount(apart.ravel(), minlength=CROSS + 1) / apart.size
    total = np.zeros(len(line_ns))
    for distance in range(CROSS + 1):  # distance by distance, so that lanes do not affect each other
        total = total + (share[distance] * line_ns[:, distance] if share[distance] else 0.0)
    return total


def flags_ns(shape: Shape, cost: Mapping[str, np.ndarray]) -> np.ndarray:
    """The time of each sender to read the flags of all other online CPUs, [cpu, lane]: such reads overlap."""
    line_ns = line_times_ns(shape, cost)
    out = np.zeros((shape.senders, len(line_ns)))
    for k in range(shape.senders):
        others = np.delete(distances(shape)[k], k)
        out[k] = len(others) * cost["ack_lines"] * mean_line_ns(others, line_ns) if len(others) else 0.0
    return out
