"""/proc/interrupts: complete, or pasted rows of it, without the line of CPUs and broken anywhere.

C:   kernel/irq/proc.c  show_interrupts(); arch/x86/kernel/irq.c  arch_show_interrupts()
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sweep.errors import BadInput

WRAP = 2**32  # of a count
Rows = Mapping[str, list[int]]  # by name, a count for each CPU
ROW = re.compile(r"\s*([\w.-]+):(?=\s)(.*)")
WANTED = ("TLB", "CAL")  # rows with errors if damaged
OF_ALL = ("ERR", "MIS")  # rows with one count for all CPUs


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
            new = _leading(words)[: cpus - len(counts) if cpus else None]
            rest = words[len(new) :]
            if name in WANTED and rest and rest[0][0].isdigit():
                raise BadInput(f"{where}, line {at}: row {name}: {rest[0][:40]!r} must be the count of a CPU")
            counts += [int(word) for word in new]
            is_open = not rest
    for rows in out:
        _check(rows, cpus, begins, where)
    return [{each: counts for each, counts in rows.items() if counts} for rows in out if any(rows.values())]


def _leading(words: list[str]) -> list[str]:
    end = next((at for at, word in enumerate(words) if not re.fullmatch(r"[0-9]{1,18}", word)), len(words))
    return words[:end]


def _check(rows: Rows, cpus: int, begins: Mapping[str, int], where: str) -> None:
    """BadInput if a wanted row lacks a count for some CPU."""
    for name in WANTED:
        others = [len(counts) for each, counts in rows.items() if each in WANTED]
        expected = cpus or max(others, default=0)
        if name in rows and (not rows[name] or len(rows[name]) != expected):
            what = f"has {len(rows[name])} counts for {expected} CPUs" if expected else "has no counts"
            raise BadInput(f"{where}, line {begins[name]}: row {name} {what}")


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
