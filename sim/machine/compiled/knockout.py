"""The first of many times, known without looking at all of them: the winner of a knock-out."""

from __future__ import annotations

import numpy as np

from sim.machine.compiled.jit import called


def knockout(lanes: int, players: int) -> tuple[np.ndarray, np.ndarray]:
    """Times, infinite as yet, and whose they are: of the winners of all matches and then of all players, [lane, place].

    There is room for as many players as the next power of two; who is not there has an infinite time for ever. Match 1
    is the final, places 2m and 2m + 1 lead to match m, and neighbours meet first.
    """
    half = max(2, 1 << (players - 1).bit_length())
    winner = np.concatenate([np.zeros(half, dtype=np.int64), np.arange(half)])
    for match in range(half - 1, 0, -1):
        winner[match] = winner[2 * match]
    return np.full((lanes, 2 * half), np.inf), np.tile(winner, (lanes, 1))


@called
def play_again(winners: np.ndarray, dues: np.ndarray, lane: int, k: int, due: float) -> None:
    """The time of a player has changed: play its matches anew. The least wins, the lowest player among equals."""
    place, winner = dues.shape[1] // 2 + k, k
    dues[lane, place] = due
    while place > 1:
        beside = place + 1 - 2 * (place % 2)
        theirs, other = dues[lane, beside], winners[lane, beside]
        loses = (theirs < due) | ((theirs == due) & (other < winner))
        winner, due = other if loses else winner, theirs if loses else due
        place //= 2
        if loses & (winner == winners[lane, place]):
            return  # somebody else wins here, as before
        winners[lane, place], dues[lane, place] = winner, due
