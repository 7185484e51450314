"""As xpfo_deferred, and the global mask is read first: it is written only where some CPU's bit is clear.

Kernel:   after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), with cpumask_test_cpu() before each write, as
          switch_mm_irqs_off() would have it too  (review of XPFO v8 13/14)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task. Bits are set atomically, and a bit that is read as set is
          checked later, so no mark is lost.
Context:  any; never waits, interrupts may be off. The page table is written before the mask is read, with a full
          barrier between them.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.TEST_FIRST), switch_to_user=Check(Line.GLOBAL))
