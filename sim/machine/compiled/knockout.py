"""The first of many times, known without looking at all of them: the winner of a knock-out."""

from __future__ import annotations

import numpy as np

from sim.machine.compiled.jit import compiled


def matches(players: int) -> int:
    """How long the array of winners of so many players is."""
    return max(2, 1 << (players - 1).bit_length())


@compiled
def play_again(winners: np.ndarray, values: np.ndarray, lane: int, k: int) -> None:
    """Value k of a lane has changed: play its matches anew. The least value wins, the lowest player among equals.

    `winners` [lane, match] holds a player for each match; match 1 is the final, and those of match m come from matches
    2m and 2m + 1. At first all are won by somebody beyond the last player, who is not there; values come in order then.
    """
    half, players = winners.shape[1], values.shape[1]
    match = (half + k) // 2
    while match:
        one, two = 2 * match, 2 * match + 1
        one = one - half if one >= half else winners[lane, one]
        two = two - half if two >= half else winners[lane, two]
        winner = one if two >= players or values[lane, one] <= values[lane, two] else two
        if winner == winners[lane, match] and winner != k:
            return  # somebody else wins here, as before
        winners[lane, match] = winner
        match //= 2
