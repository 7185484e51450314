"""/proc/interrupts: complete, or pasted rows of it, without the line of CPUs and broken anywhere.

C:   kernel/irq/proc.c  show_interrupts(); arch/x86/kernel/irq.c  arch_show_interrupts()
"""

import re
from collections.abc import Mapping
from itertools import takewhile

from sweep.errors import BadInput

WRAP = 2**32  # of a count
Rows = Mapping[str, list[int]]  # by name, a count for each CPU
ROW = re.compile(r"\s*([\w.-]+):(?=\s)(.*)")
COUNT = re.compile(r"[0-9]{1,18}")
WANTED = ("TLB", "CAL")  # rows with errors if damaged


def snapshots(text: str, where: str) -> list[dict[str, list[int]]]:
    """Every snapshot of a text: a repeated row begins a new one. BadInput with the line of a damaged row."""
    cpus, heading, name, is_open = 0, False, "", False
    out, begins = [dict[str, list[int]]()], dict[str, int]()
    for at, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and all(re.fullmatch(r"CPU\d+", word) for word in words):
            cpus, heading, is_open = len(words) + cpus * heading, True, False
            continue
        heading = heading and not words
        if row := ROW.match(line):
            name, words, is_open = row[1], row[2].split(), True
            if name in out[-1]:
                out.append({})
            out[-1][name], begins[name] = [], at
        if is_open and words:
            counts = out[-1][name]
            new = list(takewhile(COUNT.fullmatch, words))[: cpus - len(counts) if cpus else None]
            rest = words[len(new) :]
            if name in WANTED and rest and rest[0][0].isdigit():
                raise BadInput(f"{where}, line {at}: row {name}: {rest[0][:40]!r} must be the count of a CPU")
            counts += [int(word) for word in new]
            is_open = not rest
    for rows in out:
        expected = cpus or max((len(rows.get(name, [])) for name in WANTED), default=0)
        for name in WANTED:
            if name in rows and (not rows[name] or len(rows[name]) != expected):
                what = f"has {len(rows[name])} counts for {expected} CPUs" if expected else "has no counts"
                raise BadInput(f"{where}, line {begins[name]}: row {name} {what}")
    return [{each: counts for each, counts in rows.items() if counts} for rows in out if any(rows.values())]


def read_interrupts(text: str, where: str = "/proc/interrupts") -> dict[str, list[int]]:
    """The rows of one snapshot; none for an empty text, as in containers. BadInput if there are several."""
    found = snapshots(text, where)
    if len(found) > 1:
        raise BadInput(f"{where}: has {len(found)} snapshots: give one per file")
    return found[0] if found else {}


def between(before: Rows, after: Rows, where: str) -> dict[str, list[int]]:
    """Interrupts of each CPU between two snapshots; BadInput if a count went down.

    A count has 32 bits: one that was near the maximum and is small now has wrapped. A new row began at 0.
    """
    out = {}
    for name, counts in after.items():
        old = before.get(name, [0] * len(counts))
        if len(old) != len(counts):
            raise BadInput(f"{where}: row {name} has {len(old)} counts before and {len(counts)} after: must be equal")
        out[name] = [(count - earlier) % WRAP for count, earlier in zip(counts, old, strict=True)]
        if any(more > WRAP // 2 and name in before for more in out[name]):
            raise BadInput(f"{where}: row {name} went down: give the earlier file first")
    return out
