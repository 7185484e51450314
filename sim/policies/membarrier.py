"""membarrier(2): interrupt the CPUs that run this process, wait until each has passed a memory barrier, flush nothing.

C:       kernel/sched/membarrier.c  membarrier_private_expedited() -> smp_call_function_many(ipi_mb), under
         membarrier_ipi_mutex since 6.8; without that mutex calls overlap, and under contention this is too slow
Return:  every running thread of the process has executed a full memory barrier.
Stale:   no TLB entry is touched; this is the broadcast of `xpfo` without its flush, to be measured without root.
Legal:   from user space; a process of one thread returns at once.
"""

from sim.abi import Flush, Own, Run, Targets

BUILD = False


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_BUSY, own=Own.NEVER, run=Run.NOTHING, mutex=True)
