"""As xpfo_deferred_test_first, but the CPUs of each socket have a mask on a separate line.

Kernel:   after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(), with one mask per node, as
          kernel/sched/fair.c  has one of idle CPUs
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task. Bits are set atomically, and a bit that is already set
          is checked later, so no mark is lost.
Context:  any; never waits, interrupts may be off. The sender reads one line per socket, its own first.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(local=Local.FIRST, mark=Mark(Line.NODE, Write.TEST_FIRST), switch_to_user=Check(Line.NODE))
