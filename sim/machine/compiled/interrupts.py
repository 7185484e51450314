"""What both rules of a broadcast by interrupts share: the words of a policy, and the costs of a lane by name."""

from __future__ import annotations

from math import exp
from typing import NamedTuple

import numpy as np

from sim.abi import Done, Flush, Own, Run, Targets
from sim.group import Shape
from sim.machine.compiled.jit import compiled

COSTS = (
    "mask_scan_ns enqueue_ns enqueue_busy_ns ipi_send_ns ipi_latency_ns ipi_latency_cross_ns irq_entry_ns handler_ns "
    "irq_exit_ns ack_ns ack_cross_ns idle_exit_ns flush_all_ns refill_ns user_refill_ns smt_slowdown flush_mm_ns "
    "deliver_ns held_share held_ns"
).split()
# What flushes drop from a TLB, the greater including the less.
NOTHING, RANGE, FULL = range(3)
SLOW = COSTS.index("smt_slowdown")


class Words(NamedTuple):
    """What all lanes share: the machine's shape, and what the policy says."""

    reachable: int  # CPUs that requests can reach
    sockets: int
    busy: int
    flushers: int
    reach: int  # marked targets of one ICR write
    own_before: bool  # own flush: before anybody is told,
    own_after_sends: bool  # after the last ICR write,
    own_after_acks: bool  # or after the acks
    first_fully: bool  # a run flushes everything at its first request,
    nothing: bool  # or nothing at all,
    catch_up: bool  # or what the CPU has missed, by generation
    run_begun: bool  # a request is done when the run that takes it begins
    no_wait: bool  # the sender does not wait until it is done
    mutex: bool
    holds: bool  # some CPU cannot take some interrupt when it arrives,
    notes: bool  # and is left a note in its place
    socket: np.ndarray  # [cpu]
    with_sibling: np.ndarray  # [cpu] whether the SMT sibling can be told as well, so that runs slow each other down


class Cost(NamedTuple):
    """Costs of one lane, and what follows from them alone."""

    mask_scan: float
    enqueue: float
    enqueue_busy: float
    ipi_send: float  # an exit to the hypervisor included
    ipi_latency: float
    ipi_latency_cross: float
    irq_entry: float  # and what a guest pays to take the interrupt
    handler: float
    irq_exit: float
    ack: float
    ack_cross: float
    idle_exit: float
    flush_all: float  # in a handler run
    flush_mm: float  # anywhere
    refill: float
    user_refill: float
    slow: float  # a handler run takes so many times as long while the sibling runs one too
    deliver: float  # from one target of an ICR write to the next: the hypervisor's work
    held_share: float
    held: float  # for how long, mean
    flush_again: float  # what a CPU that was left a note flushes when it runs again
    empties: float  # from the end of the loop ahead until its interrupts empty the first queue
    gains: float  # what they gain on the loop behind with each further queue


def words_of(shape: Shape, flush: Flush, holds: bool) -> Words:
    """The words of a policy whose flush events interrupt; `holds`: CPUs cannot take some interrupts at once."""
    reachable = shape.busy if flush.tell is Targets.OTHER_BUSY else shape.cores
    return Words(
        reachable=reachable,
        sockets=shape.sockets,
        busy=shape.busy,
        flushers=shape.flushers,
        reach=shape.reach,
        own_before=flush.own is Own.BEFORE,
        own_after_sends=flush.own is Own.AFTER_SENDS,
        own_after_acks=flush.own is Own.AFTER_ACKS,
        first_fully=flush.run is Run.FIRST_FULLY,
        nothing=flush.run is Run.NOTHING,
        catch_up=flush.run is Run.CATCH_UP,
        run_begun=flush.done is Done.RUN_BEGUN,
        no_wait=flush.done is Done.SENT,
        mutex=flush.mutex,
        holds=holds,
        notes=holds and flush.tell is Targets.OTHER_RUNNING,
        socket=shape.socket,
        with_sibling=shape.told_with_sibling(reachable),
    )


@compiled
def cost_of_lane(words: Words, costs: np.ndarray, lane: int, slow: float) -> Cost:
    """The costs of a lane by name, in the order of COSTS; those of handler runs are `slow` times as high."""
    c, reach = costs[lane], words.reach
    irq_entry, handler, irq_exit = c[6] * slow, c[7] * slow, c[8] * slow
    return Cost(
        c[0], c[1], c[2], c[3], c[4], c[5], irq_entry, handler, irq_exit, c[9], c[10] if words.sockets > 1 else c[9],
        c[11], c[12] * slow, c[16], c[13], c[14], c[15], c[17], c[18], c[19], c[12],
        c[3] + c[17] + c[4] + irq_entry, max(c[2] - (c[3] / reach + c[17]), 1e-9),
    )  # fmt: skip


@compiled
def held_since(words: Words, cost: Cost, since: float) -> float:
    """With which probability a CPU is held that ran `since` ago, as in `sim/holds.py`; or ever, without notes."""
    forget = cost.held * (1.0 - cost.held_share)
    if not (words.notes and forget > 0.0):
        return cost.held_share
    return cost.held_share * (1.0 - exp(-max(since, 0.0) / forget))
