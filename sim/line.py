"""The line of a note: what an access to it takes, and how many posts a plain write to it erases. Arrays are [lane]."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.abi import How, Line
from sim.group import Shape
from sim.scenario import Scenario

Columns = Mapping[str, np.ndarray]


def line_access_ns(scenario: Scenario, mean: Columns, notes: Columns) -> np.ndarray:
    """What a look does with the line of a note, waiting for it included; 0 where the policy leaves none."""
    if not scenario.flush.post:
        return np.zeros_like(scenario.events)
    if scenario.flush.reads_line:
        return read_and_clear_ns(scenario, mean, notes)
    return line_ns(scenario.lanes, scenario.shape) + mean["queue_ns"]


def read_and_clear_ns(scenario: Scenario, mean: Columns, notes: Columns) -> np.ndarray:
    """Reading the line of a note, and writing to it where the note is set.

    A CPU that makes flush events has a valid copy as often as their reads find one; another one has none, since what
    set its note took its copy away.
    """
    shape = scenario.shape
    reads = shape.sockets if scenario.flush.post and scenario.flush.post.line is Line.NODE else 1  # of a flush event
    taken = mean["line_misses"] + mean["line_writes"]
    access_ns = line_ns(scenario.lanes, shape) + np.divide(
        mean["queue_ns"], taken, out=np.zeros_like(taken), where=taken > 0.0
    )
    hits = (1.0 - mean["line_misses"] / reads) * shape.flushers / shape.busy
    return hits * scenario.lanes["line_hit_ns"] + (1.0 - hits + notes["set_share"]) * access_ns


def line_ns(lanes: Columns, shape: Shape) -> np.ndarray:
    """One access to a line whose last owner is any busy CPU."""
    near = -(-shape.busy // shape.sockets) / shape.busy  # share of owners on the same socket
    return near * lanes["mask_line_ns"] + (1.0 - near) * lanes["mask_line_cross_ns"]


def flag_writes_ns(scenario: Scenario, mean: Columns, notes: Columns) -> np.ndarray:
    """Setting the flags that a post finds clear, per flush event: each flag once between two looks of its CPU."""
    if not scenario.flush.post or scenario.flush.post.line is not Line.PER_CPU:
        return np.zeros_like(scenario.events)
    flags = scenario.shape.busy * notes["flushes_per_s"] * mean["interval_ns"] * 1e-9
    return flags * line_access_ns(scenario, mean, notes)


def posts_ahead(scenario: Scenario, mean: Columns) -> np.ndarray:
    """Foreign posts written between a post's read and its write, mean: those ahead of it in line; 0 if none is lost.

    By Little's law for the line, as one of `flushers` customers sees it.
    """
    post, shape, interval_ns = scenario.flush.post, scenario.shape, mean["interval_ns"]
    if post is None:
        return np.full_like(interval_ns, np.nan)
    if post.line is not Line.GLOBAL or post.how is not How.PLAIN:
        return np.zeros_like(interval_ns)
    return (1.0 - 1.0 / shape.flushers) * (mean["queue_ns"] + line_ns(scenario.lanes, shape)) / interval_ns
