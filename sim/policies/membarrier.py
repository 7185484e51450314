"""membarrier(2): interrupt the CPUs of this process and wait until each has executed a memory barrier; flush nothing.

Kernel:   kernel/sched/membarrier.c  membarrier_private_expedited() -> smp_call_function_many(ipi_mb), under
          membarrier_ipi_mutex since 6.8; before 6.8 calls overlap, and this policy is too slow under contention
Return:   every running thread of the process has executed a full memory barrier.
Stale:    no TLB entry; this is the broadcast of `xpfo` without its flush, which users without root can measure.
Context:  from user space; a process of one thread returns at once.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.NEVER, run=Run.NOTHING, mutex=True, build=False)
