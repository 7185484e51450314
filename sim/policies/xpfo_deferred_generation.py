"""Flush the local TLB at once; count up a global generation, which other CPUs compare at their next switch to user.

Kernel:   after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off(), with inc_mm_tlb_gen()'s idea
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task. The increment is atomic and no CPU clears anything, so no mark
          is lost.
Context:  any; never waits, interrupts may be off.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write

POLICY = Policy(
    local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.ATOMIC), switch_to_user=Check(Line.GLOBAL, clears=False)
)
