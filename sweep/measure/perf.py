"""Output of `perf stat`: for people, and for programs with `-x,` or another separator, in any language."""

import math
import re
from collections import defaultdict

from sweep.errors import BadInput
from sweep.measure.pasted import NUMBER, number

NS = {"ns": 1.0, "usec": 1e3, "msec": 1e6, "sec": 1e9}  # of times, which are kept in ns
UNUSED = r"<not (?:counted|supported)>"
OF_A_KIND = re.compile(r"\w+/([\w:-]+)/")  # an event on one kind of core: `cpu_core/context-switches/`
UTILIZED = "CPUs utilized"
TIMES = {"time elapsed": "duration_time", "user": "user_time", "sys": "system_time"}  # below the counts
BELOW = re.compile(rf"({NUMBER})(?: +(?:\+-|±) +{NUMBER})? +sec(?:ond)?s(?: +(time elapsed|user|sys)\b|,|$)")
COUNT = re.compile(
    rf"^ *(?:\S*[^\d\s]\S*: +)?({NUMBER}|{UNUSED}) +(?:(ns|usec|msec) +)?([a-z][\w:/.-]*)(?: +#(.*)| +\(.*| +\+-.*|)$"
)
PART = re.compile(r"\( *(\d{1,2})[.,]\d+%\)$")  # counted for a part of the time


def read_perf(text: str, where: str) -> dict[str, float]:
    """Counts by event, times in ns; counts of each kind of core of a hybrid processor are added up.

    Events are left out if not counted, not supported, counted only in user mode, on one kind of core or for a part of
    the time: perf extrapolates, on a hybrid processor even to the time on the other kind of core.
    BadInput if the file has other columns, as with -I, or an event twice, as with --append.
    """
    counts: dict[str, float] = {}
    for line in text.splitlines():
        for event, count in (_by_fields(line, where) or _by_words(line)).items():
            if event in counts and event != UTILIZED:
                raise BadInput(f"{where}: {event} is counted twice: give a file of one run")
            counts[event] = count
    by_kind = defaultdict[str, list[float]](list)
    for name, count in counts.items():
        if match := OF_A_KIND.fullmatch(name):
            by_kind[match[1]].append(count)
    counts = {event: sum(parts) for event, parts in by_kind.items() if len(parts) > 1} | counts
    out = {name: count for name, count in counts.items() if count == count and not name.endswith(":u")}
    if not out:
        raise BadInput(f"{where}: no counts, as `perf stat` or `perf stat -x,` prints them")
    return out


def _by_fields(line: str, where: str) -> dict[str, float]:
    """The count of a line of `perf stat -x`; nothing of another line."""
    sep = next((each for each in ";\t|," if line.count(each) >= 3), None)
    if sep is None or line.startswith("#"):
        return {}
    fields = line.split(sep)
    if sep == "," and fields[0].strip().isdigit() and fields[1].isdigit():  # a decimal comma
        fields[:2] = [f"{fields[0]}.{fields[1]}"]
    if re.fullmatch(r" *[0-9]+[.,][0-9]{6,}", fields[0]) and re.match(r" *([0-9]|<not)", fields[1]):
        raise BadInput(f"{where}: counts by interval, as of `perf stat -I`: give one count of the whole run")
    count = re.fullmatch(rf" *(?:([0-9]{{1,18}}(?:[.,][0-9]{{1,9}})?)|{UNUSED})", fields[0])
    if count is None or len(fields) < 3 or not re.fullmatch(r"\w*", fields[1]):
        return {}
    extrapolated = len(fields) > 4 and re.fullmatch(r"[0-9]{1,2}([.,][0-9]+)?", fields[4])  # % of the time
    known = float(count[1].replace(",", ".")) if count[1] and not extrapolated else math.nan
    out = {fields[2]: known * NS.get(fields[1], 1.0)}
    if UTILIZED in fields[6:]:
        words = fields[: fields.index(UTILIZED)]
        busy = words[-1] if "." in words[-1] or sep != "," else ".".join(words[-2:])
        out[UTILIZED] = number(busy) or math.nan
    return out


def _by_words(line: str) -> dict[str, float]:
    """The count or the time of a line for people; nothing of another line."""
    if below := BELOW.search(line):
        seconds = number(below[1])
        return {} if seconds is None else {TIMES[below[2] or "time elapsed"]: seconds * 1e9}
    if (found := COUNT.match(line.rstrip())) is None:
        return {}
    count = number(found[1], whole=found[2] is None)
    known = math.nan if count is None or PART.search(line.rstrip()) else count * NS.get(found[2], 1.0)
    busy = re.search(rf"({NUMBER}) +{UTILIZED}", found[4] or "")
    return {found[3]: known} | ({UTILIZED: number(busy[1]) or math.nan} if busy else {})
