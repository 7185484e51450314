"""The notes beside every result: its costs, gaps of the model, and facts about the measurements."""

from collections.abc import Collection, Sequence

from sweep.inputs.costs import LITERATURE

NOT_MODELLED = (
    "memory bandwidth and cache contention beyond the lines named",
    "frequency changes",
    "NUMA placement",
    "locks other than the one that a workload names",
    "page-lock contention",
    "I/O waits",
    "nested guests",
    "the effect of steal time on compute",
)
CAVEATS = (  # about the measurements, numbered on the page
    "25073.169 s is not an independent measurement: it is 950.966 s x 26.366, the ratio measured one version earlier. "
    "The measured pair is 915.183 s and 24129.354 s (XPFO v7, same machine).",
    "Vanilla differs by 3.9 % between the two versions. Vanilla rows are inputs of the simulation, not predictions.",
    "The number of runs and their spread were never published, so measured numbers have no interval.",
    "“96 cores” are 2 x Xeon Platinum 8160 with hyper-threading: 48 cores, 96 logical CPUs. The i5-3550 has 4, without "
    "SMT and INVPCID.",
    "Elapsed and user time, kernel configuration, accounting mode and switch rates were never published: they have "
    "priors.",
    "About 480.1 million kunmap events per build are an upper bound from /proc/lock_stat, with two acquisitions of the "
    "page lock per event.",
    "Four measured rows cannot determine thirty parameters. A slow sender and busy receivers explain 96 CPUs about "
    "equally well, but differ over -j.",
)


def basis(costs: Sequence[str], draws: int, measured: Collection[str] = ()) -> str:
    """The costs behind the numbers and the meaning of intervals, in words; `measured` costs are of one machine."""
    words = [
        f"“{name}”, published central values" if name == LITERATURE
        else f"“{name}”, fitted to measurements of `sweep measure`" if name in measured
        else f"“{name}”, fitted to published times"
        for name in costs
    ]  # fmt: skip
    bands = (
        f"Bands are over {draws} cost samples."
        if draws
        else "Intervals are 95 % over replicas, without the uncertainty of costs."
    )
    return f"Costs: {'; '.join(words)}. {bands}" if words else bands
