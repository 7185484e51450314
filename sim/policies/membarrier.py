"""membarrier(2): interrupt the CPUs that run this process, wait until each has passed a memory barrier, flush nothing.

Kernel:   kernel/sched/membarrier.c  membarrier_private_expedited() -> smp_call_function_many(ipi_mb), under
          membarrier_ipi_mutex since 6.8; without that mutex calls overlap, and under contention this is too slow
Return:   every running thread of the process has executed a full memory barrier.
Stale:    no TLB entry is touched; this is the broadcast of `xpfo` without its flush, to be measured without root.
Context:  from user space; a process of one thread returns at once.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.NEVER, run=Run.NOTHING, mutex=True, build=False)
