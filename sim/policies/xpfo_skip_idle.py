"""As xpfo, but idle CPUs are not interrupted; one flushes fully when it wakes.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_kernel_range() with the lazy-TLB idea of flush_tlb_others() and leave_mm()
Return:   no running CPU holds the old mapping.
Stale:    no running CPU. An idle CPU must flush before anything else when it wakes, by interrupt too; the cost of that
          is not modelled, so this is a bound.
Context:  interrupts on, no spinlock held that a handler may take: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.AFTER_ACKS)
