"""Flush the local TLB at once; increment a global generation, checked at the next switch to a user task.

Kernel:   after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(), as in inc_mm_tlb_gen()
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task. The increment is atomic and no CPU clears the generation, so no
          mark is lost.
Context:  any; never waits, interrupts may be off.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(
    local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.ATOMIC), switch_to_user=Check(Line.GLOBAL, clears=False)
)
