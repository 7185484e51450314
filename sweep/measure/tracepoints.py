"""`tlb:tlb_flush` by reason and pages: events of `perf script` or ftrace, counts of bpftrace, shares of `perf top`.

C:   include/trace/events/tlb.h; arch/x86/mm/tlb.c  flush_tlb_func(), native_flush_tlb_multi()
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sweep.errors import BadInput
from sweep.measure.pasted import NUMBER, line_of, number

SEND, RECEIVED = 4, (1, 5)  # reasons: sent to other CPUs; received, also by a CPU that no longer runs the process
EVENT = re.compile(r"tlb_flush:\s+pages:(-?\d+)\s+reason:[\w\s]*\((\d)\)")
BEGIN = r"(?:\[(\d+)\]\s+)?(?:\S{4,5}\s+)?(\d+\.\d+):\s+(?:\d+\s+)?(?:tlb:)?\Z"  # CPU and time before an event
SHARE = re.compile(rf"^ *({NUMBER}) ?% .*?pages:(-?\d+)\s+reason:[\w\s]*\((\d)\)", re.MULTILINE)
MAP = re.compile(r"^@\w*\[(.*?)\]: *(.*)$", re.MULTILINE)
FULL_PAGES = 1024  # pages of a full flush: more than any ceiling


@dataclass(frozen=True)
class Traced:
    """Counts or shares of flushes by reason and pages; `pages` is None if unknown."""

    counts: Mapping[tuple[int, int | None], float]
    seconds: float | None = None
    senders: int | None = None  # CPUs that sent
    most: float | None = None  # received by the CPU with most of them

    def of(self, *reasons: int) -> float:
        """The number for these reasons."""
        return sum(count for (reason, _), count in self.counts.items() if reason in reasons)

    @property
    def pages(self) -> dict[int, float] | None:
        """Pages of the events sent, else of those received, with weights; a full flush has FULL_PAGES."""
        for reasons in ((SEND,), RECEIVED):
            mix = defaultdict[int, float](float)
            for (reason, pages), count in self.counts.items():
                if reason in reasons and pages is not None:
                    mix[FULL_PAGES if pages < 0 else max(1, pages)] += count
            if mix:
                return dict(mix)
        return None


def read_events(text: str, where: str) -> Traced:
    """Single events; BadInput with the line of one that cannot be read."""
    counts, received = Counter[tuple[int, int | None]](), Counter[int]()
    senders = set()
    for begin in (begun.start() for begun in re.finditer("tlb_flush:", text)):
        event = EVENT.match(text, begin)
        if event is None:
            what = "must be like `tlb_flush: pages:1 reason:remote shootdown (1)`"
            raise BadInput(f"{where}, line {line_of(text, begin)}: {what}")
        pages, reason = map(int, event.groups())
        counts[reason, pages] += 1
        head = re.search(BEGIN, text[max(0, begin - 80) : begin])
        cpu = head[1] if head else None
        received.update([int(cpu)] if cpu and reason in RECEIVED else [])
        senders |= {int(cpu)} if cpu and reason == SEND else set()
    times = [float(each) for each in re.findall(r"\s(\d+\.\d{4,9}): ", text)]
    seconds = max(times) - min(times) if len(times) > 1 else None
    return Traced(counts, seconds, len(senders) or None, max(received.values(), default=None))


def read_shares(text: str, where: str) -> Traced:
    """Shares of samples by `perf top` or `perf report`, percent."""
    counts: defaultdict[tuple[int, int | None], float] = defaultdict(float)
    for row in SHARE.finditer(text):
        if (share := number(row[1])) is None:
            raise BadInput(f"{where}, line {line_of(text, row.start())}: {row[1]!r} must be a share in percent")
        counts[int(row[3]), int(row[2])] += share
    return Traced(counts)


def read_maps(text: str, where: str) -> Traced:
    """A map of bpftrace with counts by reason, or by reason and pages in the program's order."""
    program = re.search(r"\[([^\]\n]*args(?:\.|->)reason[^\]\n]*)\]", text)
    keys = [part.strip() for part in program[1].split(",")] if program else ["reason"]
    at = next((n for n, key in enumerate(keys) if key.endswith("reason")), 0)
    by_pages = next((n for n, key in enumerate(keys) if key.endswith("pages")), None)
    counts: defaultdict[tuple[int, int | None], float] = defaultdict(float)
    for row in MAP.finditer(text):
        parts = [part.strip() for part in row[1].split(",")]
        count = number(row[2].strip(), whole=True)
        known = len(parts) == len(keys) and re.fullmatch("[0-5]", parts[at])
        if count is None or not known or not re.fullmatch(r"-?\d+", parts[by_pages or at]):
            what = "counts by reason of tlb:tlb_flush, 0 to 5, like `@[4]: 42332`"
            raise BadInput(f"{where}, line {line_of(text, row.start())}: {row[0][:60]!r}: must be {what}")
        counts[int(parts[at]), None if by_pages is None else int(parts[by_pages])] += count
    return Traced(counts)
