"""Interrupt every other online CPU, wait until all have flushed the range, then flush the local TLB.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_kernel_range() -> on_each_cpu(do_kernel_range_flush)  (XPFO v7, v8 before 13/14)
Return:   no CPU holds the old mapping.
Stale:    no CPU, once it returns.
Context:  interrupts on, no spinlock held that a handler may take: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(targets=Targets.OTHER_ONLINE, local=Local.AFTER_ACKS)
