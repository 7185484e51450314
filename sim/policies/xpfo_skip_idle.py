"""As xpfo, but idle CPUs are not interrupted; they flush fully when they wake.

Kernel:   arch/x86/mm/tlb.c  flush_tlb_kernel_range() with lazy TLB as in flush_tlb_others() and leave_mm()
Return:   no running CPU holds the old mapping.
Stale:    no running CPU. An idle CPU must flush first when it wakes, also by an interrupt. The model leaves out the
          cost of that flush, so this is a lower bound.
Context:  interrupts on, no spinlock held that a handler may take: it waits for other CPUs.
"""

from sim.policy import Local, Policy, Targets

POLICY = Policy(targets=Targets.OTHER_BUSY, local=Local.AFTER_ACKS)
