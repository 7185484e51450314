"""The first of many times, known without looking at all of them: the winner of a knock-out."""

from __future__ import annotations

import numpy as np

from sim.counts import Records
from sim.machine.compiled.jit import called

MATCH = np.dtype([("due", np.float64), ("cpu", np.int64)])


def knockout(players: int) -> Records:
    """Times, infinite as yet, and whose they are: of the winners of all matches and then of all players, [place].

    There is room for as many players as the next power of two; who is not there has an infinite time for ever. Match 1
    is the final, places 2m and 2m + 1 lead to match m, and neighbours meet first.
    """
    half = max(2, 1 << (players - 1).bit_length())
    tree = np.zeros(2 * half, MATCH).view(np.recarray)
    tree.due, tree.cpu[half:] = np.inf, np.arange(half)
    for match in range(half - 1, 0, -1):
        tree.cpu[match] = tree.cpu[2 * match]
    return tree


@called
def play_again(tree: Records, k: int, due: float) -> None:
    """The time of a player has changed: play its matches anew. The least wins, the lowest player among equals."""
    place, winner = len(tree) // 2 + k, k
    tree[place].due = due
    while place > 1:
        beside = place + 1 - 2 * (place % 2)
        theirs, other = tree[beside].due, tree[beside].cpu
        loses = (theirs < due) | ((theirs == due) & (other < winner))
        winner, due = other if loses else winner, theirs if loses else due
        place //= 2
        if loses & (winner == tree[place].cpu):
            return  # somebody else wins here, as before
        tree[place].cpu, tree[place].due = winner, due
