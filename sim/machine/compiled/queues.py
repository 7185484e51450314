"""The earliest of many due times without a scan of all of them: the winner of a knock-out, or the first of a ring.

A ring is for waits of similar length, so that most CPUs join near the end.
"""

import numpy as np

from sim.counts import Record, Records
from sim.machine.compiled.jit import called, compiled

MATCH = np.dtype([("due", np.float64), ("cpu", np.uint32)], align=True)


def knockout(players: int) -> Records:
    """Times, at first infinite, and their CPUs: the winners of all matches, then all players, [place].

    The number of places for players is the next power of two; an empty place always has an infinite time. Match 1 is
    the final, places 2m and 2m + 1 lead to match m, and neighbours meet first.
    """
    return _tree(np.arange(players), max(2, _power_of_two(players)))


def by_group(group: np.ndarray, players: int) -> tuple[Records, np.ndarray, int]:
    """A knock-out in which the players of a group meet first; the place of each player, and of the winner of group 0.

    Players are the first members of `group`, [member]. The winner of group g is at the last return value plus g.
    """
    groups, size = _power_of_two(int(group.max()) + 1), _power_of_two(int(np.bincount(group).max()))
    group = group[:players]
    rank = np.array([np.count_nonzero(group[:k] == group[k]) for k in range(players)])
    half = max(2, groups * size)
    place = group * (half // groups) + rank
    return _tree(place, half), half + place, groups


def _tree(place: np.ndarray, half: int) -> Records:
    """A knock-out with players at these places, out of `half` places in the first round."""
    tree = np.zeros(2 * half, MATCH).view(np.recarray)
    tree.due, tree.cpu[half:] = np.inf, half + np.arange(half)  # empty places come after all players
    tree.cpu[half + place] = np.arange(len(place))
    for match in range(half - 1, 0, -1):
        tree.cpu[match] = tree.cpu[2 * match : 2 * match + 2].min()
    return tree


def _power_of_two(number: int) -> int:
    """The least power of two that is not below a number."""
    return 1 << max(number - 1, 0).bit_length()


@compiled
def play_again(tree: Records, k: int, due: float) -> None:
    """Replay the matches of a player with a new time. The least time wins, or the lowest player among equal times."""
    play_at(tree, len(tree) // 2 + k, k, due)


@called
def play_at(tree: Records, place: int, k: int, due: float) -> None:
    """Replay the matches of the player at this place."""
    winner = k
    tree[place].due = due
    while place > 1:
        beside = place ^ 1
        theirs, other = tree[beside].due, tree[beside].cpu
        loses = (theirs < due) | ((theirs == due) & (other < winner))
        winner, due = other if loses else winner, theirs if loses else due
        place >>= 1
        if loses & (winner == tree[place].cpu):
            return  # another player wins here, as before
        tree[place].cpu, tree[place].due = winner, due


def ring(cpus: int) -> Records:
    """The places of an empty ring for this many CPUs: the first place follows the last one.

    A record beside it has the place of the first CPU, `first`, and the one behind the last CPU, `end`, with an infinite
    time.
    """
    places = np.zeros(cpus + 1, MATCH).view(np.recarray)
    places.due = np.inf
    return places


@compiled
def join(places: Records, ends: Record, k: int, due: float) -> None:
    """CPU k joins behind all CPUs with earlier due times; among equal times the lowest CPU is first."""
    last, at = len(places) - 1, ends.end
    end = at + 1 if at < last else 0
    ends.end, places[end].due = end, np.inf
    while at != ends.first:
        before = at - 1 if at > 0 else last
        theirs, cpu = places[before].due, places[before].cpu
        if theirs < due or (theirs == due and cpu < k):
            break
        places[at].due, places[at].cpu = theirs, cpu
        at = before
    places[at].due, places[at].cpu = due, k


@compiled
def leave(places: Records, ends: Record) -> None:
    """The first CPU leaves."""
    ends.first = ends.first + 1 if ends.first < len(places) - 1 else 0
