"""As xpfo_deferred, but the global mask is read first, and written only if the bit of some CPU is clear.

Kernel:   after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), with cpumask_test_cpu() before each write,
          also in switch_mm_irqs_off()  (review of XPFO v8 13/14)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task. Bits are set atomically, and a bit that is already set
          is checked later, so no mark is lost.
Context:  any; never waits, interrupts may be off. The page table is written before the mask is read, with a full
          barrier between them.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.TEST_FIRST), switch_to_user=Check(Line.GLOBAL))
