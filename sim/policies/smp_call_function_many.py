"""Interrupt every other online CPU, including idle ones, and wait until each has run an empty function.

Kernel:   kernel/smp.c  smp_call_function_many(cpu_online_mask, ..., wait)
Return:   every other CPU has run the function.
Stale:    no TLB entry; this is the broadcast of `xpfo` without its flush, as in benchmarks of interrupts.
Context:  interrupts on: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Run, Targets

POLICY = Policy(targets=Targets.OTHER_ONLINE, local=Local.NEVER, run=Run.NOTHING, build=False)
