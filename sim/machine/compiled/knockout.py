"""The first of many times, known without looking at all of them: the winner of a knock-out."""

from __future__ import annotations

import numpy as np

from sim.machine.compiled.jit import compiled


def knockout(lanes: int, players: int) -> tuple[np.ndarray, np.ndarray]:
    """Values [lane, player], infinite as yet, and the winners of all matches among them, [lane, match].

    There is room for as many players as the next power of two; who is not there has an infinite value for ever. Match 1
    is the final, matches 2m and 2m + 1 lead to match m, and neighbours meet first.
    """
    half = max(2, 1 << (players - 1).bit_length())
    first = np.concatenate([np.zeros(half, dtype=np.int64), np.arange(half)])  # player of each match, then of each leaf
    for match in range(half - 1, 0, -1):
        first[match] = first[2 * match]
    return np.full((lanes, half), np.inf), np.tile(first[:half], (lanes, 1))


@compiled
def play_again(winners: np.ndarray, values: np.ndarray, lane: int, k: int) -> None:
    """Value k of a lane has changed: play its matches anew. The least value wins, the lowest player among equals."""
    winner, value = k, values[lane, k]
    other = k + 1 - 2 * (k % 2)
    match = winners.shape[1] + k
    while True:
        theirs = values[lane, other]
        loses = (theirs < value) | ((theirs == value) & (other < winner))
        winner, value = other if loses else winner, theirs if loses else value
        match //= 2
        if loses & (winner == winners[lane, match]):
            return  # somebody else wins here, as before
        winners[lane, match] = winner
        if match == 1:
            return
        other = winners[lane, match + 1 - 2 * (match % 2)]
