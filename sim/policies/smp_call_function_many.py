"""Interrupt every other online CPU, idle ones included, wait until each has run a function that does nothing.

C:       kernel/smp.c  smp_call_function_many(cpu_online_mask, ..., wait)
Return:  every other CPU has run the function.
Stale:   no TLB entry is touched; this is the broadcast of `xpfo` without its flush, as benchmarks of interrupts do it.
Legal:   interrupts on: it waits for other CPUs.
"""

from sim.abi import Flush, Own, Run, Targets

BUILD = False


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_ONLINE, own=Own.NEVER, run=Run.NOTHING)
